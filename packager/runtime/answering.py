"""The sending half of a connection: answers in the order of the requests, at the pace of the peer.

An exchange that is refused is answered at once, and what is still to come of its body runs into
nothing; one that grows is sent in chunks. Sources: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from .exchange import Exchange, Response
from .wire import LAST_CHUNK, answer_head, chunk_of

if TYPE_CHECKING:
    from .listening import Connections

_JOINED = 1 << 16
_LINGER_SECONDS = 2.0
NEVER = float("inf")


class Service(Protocol):
    """What a connection asks the application."""

    def admit(self, exchange: Exchange) -> int:
        """The head is complete: the most bytes that the body may have; raises RequestError."""

    def handle(self, exchange: Exchange) -> None:
        """The request is complete and it is its turn."""

    def finished(self, exchange: Exchange, response: Response | None, sent: int) -> None:
        """Answered with `sent` bytes of body; None: the client left before."""

    def closing(self) -> bool:
        """Whether connections shall end with their next answer."""


class Answering(asyncio.Protocol):
    """What a connection says. `due` is when the server loses patience, in the loop's seconds."""

    _transport: asyncio.Transport

    def __init__(self, service: Service, connections: Connections) -> None:
        self.due = NEVER
        self._service = service
        self._connections = connections
        self._limits = connections.limits
        self._exchanges: deque[Exchange] = deque()
        self._reading_head = False
        self._ended = False
        self._writable: asyncio.Event | None = None
        self._advancing = False

    # The transport's side

    def pause_writing(self) -> None:
        self._writable = self._writable or asyncio.Event()
        self._writable.clear()
        self.due = self._connections.now() + self._limits.write_seconds

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
        self._set_due()

    # Answers, in the order of the requests

    def _advance(self) -> None:
        if self._advancing:
            return
        self._advancing = True
        try:
            self._answer_in_turn()
        finally:
            self._advancing = False

    def _answer_in_turn(self) -> None:
        while self._exchanges and not self._ended:
            exchange = self._exchanges[0]
            if exchange.refusal is not None and not exchange.finished:
                # Told at once; what is still to come of the body runs into nothing.
                self._send(exchange, exchange.refusal)
                if not exchange.whole or self._ended:
                    return
                continue
            if exchange.finished:
                if not exchange.whole:
                    return
                self._exchanges.popleft()
                self._set_due()
                continue
            if not exchange.whole or exchange.started:
                return
            exchange.started = True
            self.due = NEVER
            self._service.handle(exchange)

    def _send(self, exchange: Exchange, response: Response) -> None:
        """Write an answer. Only the first exchange in line is ever answered; where that goes wrong,
        the connection ends, so that nobody waits for what will not come."""
        if self._ended or exchange.finished or self._transport.is_closing():
            return
        try:
            self._write(exchange, response)
        except Exception:
            self.abort()
            raise

    def _write(self, exchange: Exchange, response: Response) -> None:
        keep = exchange.keep_alive and not response.close and not self._service.closing()
        if isinstance(response.body, bytes):
            head = self._head_of(exchange, response, keep, len(response.body))
            body = b"" if exchange.method == "HEAD" else response.body
            if len(body) < _JOINED:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                self._transport.write(body)
            self._done(exchange, response, len(body), keep)
            return
        exchange.started = True
        task = asyncio.get_running_loop().create_task(
            self._stream(exchange, response, response.body, keep)
        )
        self._connections.keep(task)

    async def _stream(
        self, exchange: Exchange, response: Response, chunks: AsyncIterator[bytes], keep: bool
    ) -> None:
        """An answer that grows: chunked, at the pace of the client."""
        self._transport.write(self._head_of(exchange, response, keep, None))
        sent = 0
        try:
            async for chunk in chunks:
                if self._ended:
                    return
                if chunk:
                    self._transport.write(chunk_of(chunk))
                    sent += len(chunk)
                if self._writable is not None:
                    await self._writable.wait()
            if not self._ended:
                self._transport.write(LAST_CHUNK)
                self._done(exchange, response, sent, keep)
        except Exception:
            # The status is out already; an answer that breaks off is seen by the client as such.
            self._service.finished(exchange, response, sent)
            exchange.finished = True
            self._release(exchange)
            self._close()
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _done(self, exchange: Exchange, response: Response, sent: int, keep: bool) -> None:
        exchange.finished = True
        self._release(exchange)
        self._service.finished(exchange, response, sent)
        if not keep:
            self._close(still_sending=not exchange.whole)
            return
        self._advance()

    def _head_of(
        self, exchange: Exchange, response: Response, keep: bool, size: int | None
    ) -> bytes:
        return answer_head(
            response,
            request_id=exchange.id,
            date_line=self._connections.date_line,
            keep=keep,
            size=size,
        )

    def _lose(self, exchange: Exchange) -> None:
        if exchange.finished:
            return
        exchange.finished = exchange.gone = True
        on_gone = exchange.on_gone
        self._release(exchange)
        self._service.finished(exchange, None, 0)
        if on_gone is not None:
            on_gone()

    def _release(self, exchange: Exchange) -> None:
        """Its body no longer counts against what all requests may hold."""
        self._connections.held -= exchange.held
        exchange.held = 0

    # Patience

    def _set_due(self) -> None:
        limits, now = self._limits, self._connections.now()
        if self._writable is not None and not self._writable.is_set():
            self.due = now + limits.write_seconds
        elif self._exchanges:
            first = self._exchanges[0]
            self.due = NEVER if first.whole else now + limits.body_seconds
        else:
            self.due = now + (limits.header_seconds if self._reading_head else limits.idle_seconds)

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand and nothing was begun."""
        return not self._exchanges and not self._reading_head

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()

    def _close(self, *, still_sending: bool = False) -> None:
        """End the connection. Closing on a peer that is sending would reset the connection and
        take the answer with it, so that one is read into nothing for a moment."""
        if self._ended:
            return
        self._ended = True
        if still_sending and self._transport.can_write_eof():
            self.due = self._connections.now() + _LINGER_SECONDS
            self._transport.write_eof()
        else:
            self._transport.close()
