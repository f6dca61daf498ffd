"""Request bodies: read within bounds, and unpacked within bounds.

A body that says that it is too large is refused before it is read; one that does not say is refused
where it crosses the line. A compressed body counts as what it becomes, so a small bomb is no way
around the limit. Source: RFC 9110, section 8.4 (Content-Encoding).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .errors import RequestError, quoted

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = Mapping[bytes, bytes]

BODY_SECONDS = 30.0
# Many clients read an answer only when they have sent everything, so closing on them would show
# them a reset instead of the 413. A body up to this many times the limit is let run into nothing.
_DISCARDED = 8
_WINDOW = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits: gzip, zlib


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises RequestError: 413 too large, 408 not complete after 30 seconds; ClientGone.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit, close=int(declared) > limit * _DISCARDED)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    if not message.get("more_body"):
        return _within(message.get("body", b""), limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _rest(receive, message.get("body", b""), limit)
    except TimeoutError as error:
        raise RequestError(408, "the body did not come in time", close=True) from error


def unpack(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding, at most `limit` bytes.

    Raises RequestError: 415 for another encoding than gzip and deflate, 413, 400 when damaged.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW:
        raise RequestError(
            415,
            f"Content-Encoding {quoted(encoding.decode('latin-1'))} is not supported",
            headers={"accept-encoding": "gzip, deflate"},
        )
    stream = zlib.decompressobj(_WINDOW[encoding])
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, f"the body is not {encoding.decode()}") from error
    if len(data) > limit:
        raise _too_large(limit)
    if not stream.eof:
        raise RequestError(400, "the compressed body ends too early")
    if stream.unused_data:
        raise RequestError(400, "bytes follow the end of the compressed body")
    return data


async def _rest(receive: Receive, first: bytes, limit: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        more = message.get("more_body", False)
    return _within(b"".join(chunks), limit)


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int, *, close: bool = True) -> RequestError:
    return RequestError(413, f"the body is larger than {limit} bytes", close=close)
