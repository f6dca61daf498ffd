"""One HTTP/1.1 connection that asks one question at a time and takes the time of its answer.

Nothing happens per request but a write and the parsing of the answer (llhttp, through httptools):
no task, no timer, no copy, since what the generator takes of a small machine the server lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import httptools

Answered = Callable[["Connection", int, float], None]
LOST = 0
"""The status of a question that got no answer: the connection broke, or patience was over."""


class Connection(asyncio.Protocol):
    """`answered` gets the connection, the status (or LOST) and the seconds since `since`."""

    def __init__(self, answered: Answered, *, keep_body: bool = False) -> None:
        self.since = 0.0
        self.asked = 0.0
        self.busy = False
        self.open = False
        self.body = b""
        self.headers: dict[str, str] = {}
        self._answered = answered
        self._keep_body = keep_body
        self._chunks: list[bytes] = []
        self._parser: Any = httptools.HttpResponseParser(self)

    def ask(self, request: bytes, since: float) -> None:
        """Send a whole request; `since` (time.perf_counter) is from when the client waits."""
        self.busy = True
        self.since = since
        self.asked = time.perf_counter()
        if self.open:
            self._transport.write(request)
        else:  # it ended while nobody asked; nobody will tell us again
            asyncio.get_running_loop().call_soon(self._finish, LOST)

    def close(self) -> None:
        self.open = False
        self._transport.abort()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        if self.busy:
            self._finish(LOST)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    # The parser's side

    def on_message_begin(self) -> None:
        self._chunks = []
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._keep_body:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, chunk: bytes) -> None:
        if self._keep_body:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if not self.busy:
            self.close()  # an answer to nothing
            return
        if self._keep_body:
            self.body = b"".join(self._chunks)
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        self._finish(status)

    def _finish(self, status: int) -> None:
        self.busy = False
        self._answered(self, status, time.perf_counter() - self.since)
