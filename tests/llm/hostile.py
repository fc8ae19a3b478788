"""A server on loopback that answers as a test tells it, below all good manners.

Place in the flow: tests of what a client must survive. `answer(handler, body)` may return the reply's JSON values or bytes, or
write to the connection itself and return None.

Example::

    with serving(lambda handler, body: completion("4")) as server:
        ...server.url...
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], Any]


def completion(content: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """An ordinary chat completion around `content`; `more` replaces or adds fields of the envelope."""
    message = {"role": "assistant", "content": content}
    envelope = {"id": "c-1", "choices": [{"message": message, "finish_reason": finish}]}
    return envelope | {"usage": {"prompt_tokens": 10, "completion_tokens": 5}} | more


def respond(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@dataclass
class Serving:
    """A running server: where it is, and the paths and bodies it was asked with."""

    url: str
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[Serving]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            body = json.loads(content) if "json" in self.headers["Content-Type"] else {}  # else a batch's file
            running.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            with contextlib.suppress(ConnectionError):
                reply = answer(self, body)
                if reply is not None:
                    respond(self, 200, reply if isinstance(reply, bytes) else json.dumps(reply).encode())

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        running = Serving(f"http://127.0.0.1:{server.server_port}/v1")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield running
        server.shutdown()
