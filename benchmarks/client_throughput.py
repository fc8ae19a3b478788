"""How fast the teacher client asks: 64 calls in flight against a server that answers in 50 ms.

Purpose: prints calls/s and CPU time per call of the client (store, claims and budget on), of the same without its HTTP,
of the `openai` package used as its manual says, and of a bare socket loop, which is the most this machine and the server
give; with `--profile` also where the client's time goes. The ideal is in_flight / latency = 1,280 calls/s. Asserts
nothing. Client and server share the machine: on two busy cores compare with the bare sockets, not with the ideal.

Example::

    python benchmarks/client_throughput.py --calls 3200 --profile
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sei.llm.client import Client
from sei.llm.endpoint import Endpoint
from sei.llm.prices import Price
from sei.llm.request import Request
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from sei.records import Mistake
from sei.teacher.api.roles import Roles
from tests.teacher.fault_server import Running


def requests(calls: int, first: int) -> list[Request]:
    """Filled diagnosis prompts of ordinary length, all different."""
    roles = Roles("gsm8k")
    solution = "She has 3*4=<<3*4=12>>12 apples.\nShe sells 12-5=<<12-5=7>>7 of them.\n#### 7"
    return [
        roles.diagnose(
            Mistake(f"mistake-{n}", "p", "a", f"Problem {n}: how many apples are left?", "5", solution, solution, "m")
        ).request
        for n in range(first, first + calls)
    ]


class Asleep(Endpoint):
    """An endpoint whose HTTP call is a sleep."""

    latency_s = 0.0

    async def _post(self, key: str, body: dict[str, Any]) -> str:
        await asyncio.sleep(self.latency_s)
        message = {"role": "assistant", "content": "{}"}
        return json.dumps({"id": key, "choices": [{"message": message, "finish_reason": "stop"}], "usage": {}})


class WithoutHttp(Client):
    """The client without its HTTP: what is left is our own work, store and claims included."""

    def _connect(self, url: str | None) -> Endpoint:
        return Asleep.open(url, self.settings, self._key)


def timed(client: Client, calls: int, repeats: int, profile: cProfile.Profile | None = None) -> tuple[float, float]:
    """Calls per second, and CPU seconds a call: the best of `repeats` runs."""
    client.ask_many(requests(1000, 10_000_000))  # opens the connections and widens the window
    elapsed, cpu = float("inf"), float("inf")
    for repeat in range(repeats):
        batch = requests(calls, repeat * calls)
        if profile:
            profile.enable()
        started, used = time.perf_counter(), time.process_time()
        client.ask_many(batch)
        elapsed, cpu = min(elapsed, time.perf_counter() - started), min(cpu, time.process_time() - used)
        if profile:
            profile.disable()
    client.close()
    client.store.close()
    return calls / elapsed, cpu / calls


async def bare_openai(url: str, calls: int, in_flight: int) -> tuple[float, float]:
    """Calls per second, and CPU seconds a call, of the openai package alone, parsing each answer."""
    import openai

    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(max_connections=256, max_keepalive_connections=256)
    client = openai.AsyncOpenAI(
        api_key="none", base_url=url, max_retries=0, http_client=openai.DefaultAsyncHttpxClient(limits=limits)
    )
    texts = iter([request.messages[0][1] for request in requests(calls, 0)])

    async def work() -> None:
        for text in texts:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    await client.close()
    return calls / elapsed, cpu / calls


async def bare_sockets(port: int, calls: int, in_flight: int) -> tuple[float, float]:
    """Calls per second, and CPU seconds a call, of asyncio streams that read an answer and drop it."""
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": requests(1, 0)[0].messages[0][1]}]}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    numbers = iter(range(calls))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            writer.write(f"{head}X-Client-Request-Id: {number}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return calls / (time.perf_counter() - started), (time.process_time() - cpu) / calls


def show_profile(profile: cProfile.Profile) -> None:
    """Where the client's time goes, by package, and the ten dearest functions."""
    shares: dict[str, float] = {}
    for (file, _, name), (*_, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        package = file.split("site-packages/")[1].split("/")[0] if "site-packages/" in file else Path(file).parent.name
        if "/sei/" in file:
            package = "sei"
        elif file == "~":
            package = "waiting" if "poll" in name else "built-in functions"
        shares[package] = shares.get(package, 0.0) + own
    total = sum(shares.values())
    for package, seconds in sorted(shares.items(), key=lambda item: -item[1])[:12]:
        print(f"{package:24}{seconds / total:10.1%}")
    pstats.Stats(profile).sort_stats("tottime").print_stats(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3200)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--repeats", type=int, default=3, help="of the client's run; the best counts")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    ideal = args.in_flight / args.latency
    with Running(latency_s=args.latency) as server, tempfile.TemporaryDirectory() as folder:
        settings = ApiSettings(
            model="m",
            base_urls=(server.url,),
            max_concurrency=args.in_flight,
            budget_usd=1e6,
            price=Price(2.5, 10.0),
        )
        profile = cProfile.Profile() if args.profile else None
        asked = timed(Client(settings, Store(Path(folder) / "a.sqlite"), "run"), args.calls, args.repeats, profile)
        Asleep.latency_s = args.latency
        own = timed(WithoutHttp(settings, Store(Path(folder) / "b.sqlite"), "run"), args.calls, args.repeats)
        alone = asyncio.run(bare_openai(server.url, args.calls, args.in_flight))
        sockets = asyncio.run(bare_sockets(server.port, args.calls, args.in_flight))
    print(
        f"{args.calls} calls, {args.in_flight} in flight, {args.latency * 1000:.0f} ms; load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':24}{'calls/s':>10}{'of ideal':>10}{'CPU us/call':>14}")
    print(f"{'ideal':24}{ideal:10.0f}")
    rows = {
        "teacher client": asked,
        "  without its HTTP": own,
        "openai package alone": alone,
        "bare sockets": sockets,
    }
    for name, (rate, seconds) in rows.items():
        print(f"{name:24}{rate:10.0f}{rate / ideal:10.0%}{seconds * 1e6:14.0f}")
    if profile:
        show_profile(profile)


if __name__ == "__main__":
    main()
