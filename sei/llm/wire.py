"""The wire: connections of whichever HTTP library the openai package brings, and what they must not do.

Place in the flow: `endpoint` opens one per URL. No answer is read beyond a limit, counted after decompression, so that neither
an endless body nor a small one that unpacks to gigabytes fills the memory; no redirect is followed, so that prompts and
answers travel to and from the configured host alone.

Example::

    http = connections(64)          # an httpx.AsyncClient, for openai.AsyncOpenAI(http_client=http)
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

MOST_BYTES = 16 * 2**20  # of one answer; 100,000 tokens of reasoning are half a megabyte
MOST_FILE_BYTES = 2**30  # of a batch's output file


class TooLarge(Exception):
    """An answer is longer than any answer to such a question."""


def connections(most: int) -> Any:
    """An asynchronous HTTP client that keeps up to twice `most` connections open."""
    import openai

    # The class of the package's own default, so that it fits whichever HTTP library the package brings.
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
        max_connections=2 * most, max_keepalive_connections=2 * most, keepalive_expiry=30.0
    )
    options: dict[str, Any] = {
        "limits": limits,
        "follow_redirects": False,
        "headers": {"Accept-Encoding": "gzip, deflate"},  # what `_Bounded` unpacks
        "event_hooks": {"response": [_bound]},
    }
    try:
        return openai.DefaultAioHttpClient(**options)  # half the time per call of the default transport
    except RuntimeError:  # openai 2 without its extra `aiohttp`
        return openai.DefaultAsyncHttpxClient(**options)


async def _bound(response: Any) -> None:
    """Let `response` be read up to the limit. Called by the client when the head has come and the body has not."""
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    most = MOST_FILE_BYTES if response.request.url.path.endswith("/content") else MOST_BYTES
    kind: Any = type(response.stream)
    response.stream = _bounded_class(kind)(response.stream, encoding, most)


@cache
def _bounded_class(stream: Any) -> Any:
    """`_Bounded` as a stream of the library that `stream` belongs to, which insists on its own class."""
    base = next(parent for parent in stream.__mro__ if parent.__name__ == "AsyncByteStream")
    return type("BoundedStream", (_Bounded, base), {})


class _Bounded:
    """A body, unpacked, that ends with TooLarge once it is longer than `most` bytes."""

    def __init__(self, stream: Any, encoding: str, most: int) -> None:
        self._stream, self._encoding, self._most = stream, encoding, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding in ("identity", ""):
            pieces = self._stream.__aiter__()
        elif self._encoding in ("gzip", "x-gzip", "deflate"):
            pieces = self._unpacked()
        else:
            raise ValueError(f"the answer is packed as {self._encoding[:20]!r}, which was not asked for")
        left = self._most
        async for piece in pieces:
            left -= len(piece)
            if left < 0:
                raise TooLarge(f"the answer is longer than {self._most / 2**20:g} MB")
            yield piece

    async def _unpacked(self) -> AsyncIterator[bytes]:
        unpacker = None
        async for packed in self._stream:
            # gzip and zlib begin with a mark that zlib finds itself (47); deflate without one is told by its absence
            unpacker = unpacker or zlib.decompressobj(47 if packed[:1] in (b"\x1f", b"\x78") else -15)
            while packed:
                yield unpacker.decompress(packed, 2**16)  # in small pieces: `__aiter__` counts them
                packed = unpacker.unconsumed_tail
        if unpacker is not None and not unpacker.eof:
            raise ValueError("the answer breaks off")

    async def aclose(self) -> None:
        await self._stream.aclose()
