"""An OpenAI-compatible server that answers every role from a script, and misbehaves at a chosen rate.

Place in the flow: tests and benchmarks start it as a process of its own on loopback. What it says depends only on the
first message of a request, so a run with faults must end with the same records as a run without. Every ask is logged
under the client's `X-Client-Request-Id` (the store's key), so tests can count who was asked again after success.

Example::

    python tests/teacher/fault_server.py --rate 0.3 --latency 0.05     # prints its port, then serves
    curl http://127.0.0.1:PORT/stats
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sei.teacher.scripted import digest, role_of, scripted

TRANSPORT = ("429", "429_retry_after", "500", "reset", "timeout")  # the ask comes to nothing
SEMANTIC = (  # the ask is answered, badly
    "truncated_json",
    "fenced",
    "wrong_schema",
    "prose",
    "refusal",
    "empty",
    "length",
    "filtered",
    "duplicates",
    "missing",
)
FAULTS = TRANSPORT + SEMANTIC


def spoiled(fault: str, text: str) -> tuple[str, str, str]:
    """Content, refusal and finish reason of a bad answer; `text` is what a good one would have said."""
    if fault == "fenced":
        return f"Here you are:\n```json\n{text}\n```", "", "stop"
    if fault == "truncated_json":
        return text[: max(1, len(text) * 2 // 3)], "", "stop"
    if fault == "length":
        return text[: len(text) // 2], "", "length"
    if fault == "wrong_schema":
        return json.dumps({"result": text[:40]}), "", "stop"
    if fault == "prose":
        return "Let me think about the solution. The student did well in general.", "", "stop"
    if fault == "refusal":
        return "", "I'm sorry, but I cannot help with that.", "stop"
    if fault == "filtered":
        return "", "", "content_filter"
    if fault == "empty":
        return "", "", "stop"
    if "groups" in json.loads(text):
        return spoiled_groups(fault, json.loads(text)["groups"]), "", "stop"
    items = json.loads(text)["problems"]
    keep = max(1, len(items) * 3 // 4)
    items = items[:keep] + (items[: len(items) - keep] if fault == "duplicates" else [])
    return json.dumps({"problems": items}), "", "stop"


def spoiled_groups(fault: str, groups: list[dict[str, Any]]) -> str:
    """A clustering with every fourth phrase left out and one invented, or with every fourth phrase in two groups."""
    phrases = [phrase for group in groups for phrase in group["phrases"]]
    fourth = phrases[::4]
    if fault == "missing":
        for group in groups:
            group["phrases"] = [phrase for phrase in group["phrases"] if phrase not in fourth]
        groups[0]["phrases"].append("a phrase that nobody noted")
    else:
        groups.append({"name": "Slips of a second kind", "description": "Again.", "phrases": fourth})
    return json.dumps({"groups": groups})


@dataclass
class Server:
    """The script, the faults and the books."""

    rate: float = 0.0
    latency_s: float = 0.0
    faults: tuple[str, ...] = FAULTS
    repairs_fail: bool = True  # False: only the first answer to a prompt is spoiled, so that every record can be mended
    schemas: bool = True  # False: refuses response_format as old servers do
    reject_with: str = ""  # if set, every ask gets a 401 with this message
    refused_field: str = ""  # a body with this field gets a 400, as from servers that know only the other name
    refused_text: str = ""  # if set, a prompt that holds it gets a 400
    hang_s: float = 5.0  # how long a "timeout" stays silent
    seed: int = 0
    gold: dict[str, str] = field(default_factory=dict)
    log: list[tuple[int, str, str]] = field(default_factory=list)  # (number of the ask, key, outcome), see `note`
    received: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    asks: dict[str, int] = field(default_factory=dict)
    spoiled_prompts: set[int] = field(default_factory=set)
    in_flight: int = 0
    most_in_flight: int = 0
    limit: int = 0  # more in flight than this get a 429; 0: no limit
    files: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    batch_delay_s: float = 0.2
    batch_noise: str = ""  # stands in a batch's output file before and after the answers, which are there twice then
    refuse_batches: str = ""  # if set, batches fail as a whole with this message

    def fault_for(self, key: str, body: dict[str, Any]) -> str:
        """The fault of this ask, "" for none: a function of seed, key and how often the key was asked."""
        self.asks[key] = self.asks.get(key, 0) + 1
        chance = random.Random(f"{self.seed}-{key}-{self.asks[key]}")
        if chance.random() >= self.rate:
            return ""
        fault = chance.choice(self.faults)
        role = role_of(body)
        if fault in SEMANTIC and not self.repairs_fail:
            prompt = digest(body["messages"][0]["content"])
            if fault == "filtered" or prompt in self.spoiled_prompts:  # what is filtered is not asked again
                return ""
            self.spoiled_prompts.add(prompt)
        if fault in ("duplicates", "missing") and role not in ("synthesize", "cluster_seed", "cluster_extend"):
            return "wrong_schema" if role not in ("solve", "template") else "empty"
        if fault in ("truncated_json", "fenced", "wrong_schema", "prose") and role in ("solve", "template"):
            return "empty"
        return fault

    def note(self, number: int, key: str, fault: str) -> None:
        """Log an ask: "answered", "answered fenced" where the answer was spoiled, or the transport fault."""
        self.log.append((number, key, fault if fault in (*TRANSPORT, "gone") else f"answered {fault}".strip()))

    def completion(self, number: int, body: dict[str, Any], fault: str) -> bytes:
        content, refusal, finish = scripted(body, self.gold), "", "stop"
        prompt_tokens = sum(len(message["content"]) for message in body["messages"]) // 4
        if fault in SEMANTIC:
            content, refusal, finish = spoiled(fault, content)
        message = {"role": "assistant", "content": content or None, "refusal": refusal or None}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(content) // 4 + 1}
        return json.dumps(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": usage | {"total_tokens": sum(usage.values())},
            }
        ).encode()

    def stats(self) -> dict[str, Any]:
        answered = [key for _, key, outcome in self.log if outcome.startswith("answered")]
        return {
            "asks": len(self.log),
            "answered": len(answered),
            "distinct": len(set(answered)),
            "injected": self.injected,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "batches": len(self.batches),
        }


class Connection(asyncio.Protocol):
    """Just enough of HTTP/1.1: keep-alive, Content-Length bodies, one answer after the other."""

    def __init__(self, server: Server) -> None:
        self.server, self.buffer = server, b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
            }
            length = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + length:
                return
            content, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            method, path, _ = head.split(" ", 2)
            self.handle(method, path, headers, content)

    def reply(self, status: int, content: bytes, extra: str = "") -> None:
        if self.transport.is_closing():
            return
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n{extra}\r\n"
        self.transport.write(head.encode() + content)

    def error(self, status: int, message: str, code: str = "", extra: str = "") -> None:
        self.reply(status, json.dumps({"error": {"message": message, "code": code, "type": "error"}}).encode(), extra)

    def handle(self, method: str, path: str, headers: dict[str, str], content: bytes) -> None:
        server, loop = self.server, asyncio.get_running_loop()
        if path.endswith("/chat/completions"):
            body = json.loads(content)
            if server.reject_with:
                self.error(401, server.reject_with, "invalid_api_key")
                return
            if "response_format" in body and not server.schemas:
                self.error(400, "response_format of type json_schema is not supported")
                return
            if server.refused_field in body:
                self.error(400, f"Unsupported parameter: '{server.refused_field}'", "unsupported_parameter")
                return
            if server.refused_text and server.refused_text in body["messages"][0]["content"]:
                self.error(400, "the prompt is too long", "context_length_exceeded")
                return
            key = headers.get("x-client-request-id") or str(digest(content))
            fault = "429" if 0 < server.limit <= server.in_flight else server.fault_for(key, body)
            if fault:
                server.injected[fault] = server.injected.get(fault, 0) + 1
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            delay = server.hang_s if fault == "timeout" else server.latency_s
            server.received += 1
            loop.call_later(delay, self.answer, server.received, key, body, fault)
        elif path == "/stats":
            self.reply(200, json.dumps(server.stats()).encode())
        elif path == "/log":
            self.reply(200, json.dumps(server.log).encode())
        elif path == "/set":
            for name, value in json.loads(content).items():
                setattr(server, name, tuple(value) if name == "faults" else value)
            self.reply(200, b"{}")
        else:
            self.batch(method, path, headers, content)

    def answer(self, number: int, key: str, body: dict[str, Any], fault: str) -> None:
        server = self.server
        server.in_flight -= 1
        if fault in TRANSPORT:
            server.note(number, key, fault)
            if fault == "429":
                self.error(429, "slow down", "rate_limit_exceeded")
            elif fault == "429_retry_after":
                self.error(429, "slow down", "rate_limit_exceeded", "Retry-After: 0.05\r\n")
            elif fault == "500":
                self.error(500, "something broke")
            elif fault == "reset" and not self.transport.is_closing():
                self.transport.write(
                    b'HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"id"'
                )
                self.transport.abort()
            elif fault == "timeout":
                self.transport.abort()
            return
        if self.transport.is_closing():
            server.note(number, key, "gone")  # the client was killed before we answered
            return
        answer = server.completion(number, body, fault)
        server.note(number, key, fault)
        self.reply(200, answer)

    # /v1/files and /v1/batches

    def batch(self, method: str, path: str, headers: dict[str, str], content: bytes) -> None:
        server = self.server
        path = path.split("?")[0].removeprefix("/v1")
        if method == "POST" and path == "/files":
            boundary = headers["content-type"].split("boundary=")[1].strip('"').encode()
            part = next(p for p in content.split(b"--" + boundary) if b'name="file"' in p)
            name = f"file-{len(server.files)}"
            server.files[name] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n").decode()
            self.reply(200, json.dumps({"id": name, "object": "file", "purpose": "batch"}).encode())
        elif method == "GET" and (match := re.fullmatch(r"/files/(.+)/content", path)):
            self.reply(200, server.files[match[1]].encode())
        elif method == "POST" and path == "/batches":
            wish = json.loads(content)
            name = f"batch-{len(server.batches)}"
            server.batches[name] = {
                "id": name, "object": "batch", "status": "in_progress", "endpoint": wish["endpoint"],
                "input_file_id": wish["input_file_id"], "completion_window": "24h", "created_at": 0,
                "metadata": wish.get("metadata"),
            }  # fmt: skip
            asyncio.get_running_loop().call_later(server.batch_delay_s, self.finish_batch, name)
            self.reply(200, json.dumps(server.batches[name]).encode())
        elif method == "GET" and path == "/batches":
            page = {"object": "list", "data": list(server.batches.values())[::-1], "has_more": False}
            self.reply(200, json.dumps(page).encode())
        elif method == "GET" and (match := re.fullmatch(r"/batches/(.+)", path)):
            self.reply(200, json.dumps(server.batches[match[1]]).encode())
        else:
            self.error(404, f"no route {method} {path}")

    def finish_batch(self, name: str) -> None:
        """Answer the lines; transport faults become failed lines (500) or expired ones (the rest)."""
        server, batch = self.server, self.server.batches[name]
        if server.refuse_batches:
            problem = {"message": server.refuse_batches, "code": "invalid"}
            batch |= {"status": "failed", "errors": {"object": "list", "data": [problem]}}
            return
        good, bad = [], []
        for line in server.files[batch["input_file_id"]].splitlines():
            row = json.loads(line)
            key, body = row["custom_id"], row["body"]
            if "response_format" in body and not server.schemas:
                said = {"error": {"message": "response_format of type json_schema is not supported"}}
                bad.append({"custom_id": key, "response": {"status_code": 400, "body": said}, "error": None})
                continue
            fault = server.fault_for(key, body)
            if fault:
                server.injected[fault] = server.injected.get(fault, 0) + 1
            server.received += 1
            result: dict[str, Any] = {"id": f"line-{len(good) + len(bad)}", "custom_id": key}
            if fault in TRANSPORT:
                server.note(server.received, key, fault)
                if fault == "500":
                    result |= {"response": {"status_code": 500, "body": {"error": {"message": "broke"}}}, "error": None}
                else:
                    result |= {"response": None, "error": {"code": "batch_expired", "message": "not in time"}}
                bad.append(result)
            else:
                answer = json.loads(server.completion(server.received, body, fault))
                server.note(server.received, key, fault)
                good.append(result | {"response": {"status_code": 200, "body": answer}, "error": None})
        for field_name, rows in (("output_file_id", good), ("error_file_id", bad)):
            if rows:
                file = f"file-{len(server.files)}"
                lines = "".join(json.dumps(row) + "\n" for row in rows)
                noise = server.batch_noise
                server.files[file] = f"{noise}\n{lines}{noise}\n{lines}" if noise else lines
                batch[field_name] = file
        batch["status"] = (
            "expired" if any((row["error"] or {}).get("code") == "batch_expired" for row in bad) else "completed"
        )


class Running:
    """The server as a process, for tests: `with Running(rate=0.3) as server: server.url`."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, "--options", json.dumps(self.options)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as response:
            return json.load(response)

    def set(self, **options: Any) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/set", data=json.dumps(options).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=30).close()


async def serve(server: Server, port: int) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0, help="share of asks that go wrong")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until an answer")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--gold", type=Path, help="JSONL with question and answer (the last line is `#### n`)")
    parser.add_argument("--options", type=json.loads, default={}, help="further fields of Server, as JSON")
    args = parser.parse_args()
    server = Server(rate=args.rate, latency_s=args.latency, faults=tuple(args.faults))
    for name, value in args.options.items():
        setattr(server, name, tuple(value) if name == "faults" else value)
    if args.gold:
        rows = map(json.loads, args.gold.read_text(encoding="utf-8").splitlines())
        server.gold = {row["question"]: row["answer"].rsplit("####", 1)[-1].strip() for row in rows}
    asyncio.run(serve(server, args.port))


if __name__ == "__main__":
    main()
