"""A headless Chromium for tests of pages: opens a file, types, reads what is there, and keeps what the console said.

Speaks the DevTools protocol over aiohttp, which the project has anyway. `chromium()` is None where none is installed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-port=0"
).split()
_KEYS = {"ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36, "Enter": 13, "Escape": 27, "Tab": 9, "/": 191}


def chromium() -> str | None:
    """The browser's path."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page in one browser. `said` has every line on its console, and whatever it tried to fetch and may not."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.fetched: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0

    def __enter__(self) -> Self:
        path = chromium()
        assert path is not None
        self._process = subprocess.Popen(
            [path, *_FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._loop.run_until_complete(self._connect())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):
            self._loop.run_until_complete(self._session.close())
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
        self._loop.close()
        self._folder.cleanup()

    async def _connect(self) -> None:
        port_file = Path(self._folder.name) / "DevToolsActivePort"
        for _ in range(600):
            if port_file.is_file() and (words := port_file.read_text().split()):
                break
            await asyncio.sleep(0.05)
        else:
            raise TimeoutError("Chromium did not start within 30 s")
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{words[0]}/json/list") as answer:
            pages = await answer.json()
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._ask(f"{domain}.enable")

    async def _ask(self, method: str, **arguments: Any) -> Any:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": arguments})
        while True:
            message = await asyncio.wait_for(self._socket.receive_json(), timeout=60)
            self._note(message)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        about = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value", one.get("description"))) for one in about["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            self.said.append(str(about["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded":
            self.said.append(about["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.fetched.append(about["request"]["url"])

    def ask(self, method: str, **arguments: Any) -> Any:
        """Any method of the DevTools protocol."""
        return self._loop.run_until_complete(self._ask(method, **arguments))

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window's size, and the colours that the reader prefers."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path, hash: str = "") -> float:
        """Open a file anew; returns the seconds until it is ready to be read."""
        started = time.monotonic()
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=path.resolve().as_uri() + hash)
        self.wait("document.readyState === 'complete'")
        return time.monotonic() - started

    def evaluate(self, script: str) -> Any:
        """The value of an expression on the page, a promise's once it is there."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        """Wait until an expression holds."""
        until = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < until, f"still not so: {script}"
            time.sleep(0.02)

    def text(self, selector: str = "body") -> str:
        """What a reader sees of the first element that a selector names."""
        return str(self.evaluate(f"document.querySelector({selector!r}).innerText"))

    def press(self, key: str) -> None:
        """One key, or a character."""
        code = {"windowsVirtualKeyCode": _KEYS[key]} if key in _KEYS else {}
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **code, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def write(self, text: str) -> None:
        """Text where the focus is."""
        self.ask("Input.insertText", text=text)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what is in the window, or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
