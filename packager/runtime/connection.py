"""One HTTP/1.1 connection: bytes in, exchanges out, and a bound on everything that a peer can do.

The hostile bytes are parsed by llhttp (through httptools). What stands here is what a parser leaves
open: how large a head may be, how long head, body, silence and a slow reader may take, in which
order pipelined requests are answered, and that a client that leaves takes its work with it.
Sources: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from .errors import RequestError
from .exchange import Exchange, Response
from .known_heads import KnownHead
from .lifecycle import unavailable
from .request_head import RequestHead
from .tls import principal
from .wire import CONTINUE, LAST_CHUNK, answer_head, chunk_of, target_of

if TYPE_CHECKING:
    from .listening import Connections

# Many clients read an answer only when they have sent everything, so closing on them would show
# them a reset instead of the refusal. This many bytes are let run into nothing.
_DISCARDED = 8
_MOST_PIPELINED = 64
_JOINED = 1 << 16
_LINGER_SECONDS = 2.0
_NEVER = float("inf")


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


class Connection(asyncio.Protocol):
    """A peer. `due` is when the server loses patience, in the loop's seconds."""

    def __init__(self, service: Service, connections: Connections) -> None:
        self.due = _NEVER
        self.client = ""
        self.principal: str | None = None
        self._service = service
        self._connections = connections
        self._limits = connections.limits
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()
        self._reading: Exchange | None = None
        self._reading_head = False
        self._ended = False
        self._writable: asyncio.Event | None = None
        self._head = RequestHead(self._limits.max_header_bytes)
        self._chunks: list[bytes] = []
        self._most = 0
        self._advancing = False
        self._known: KnownHead | None = None
        self._last: Exchange | None = None

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.principal = principal(transport.get_extra_info("peercert"))
        self.due = self._connections.now() + self._limits.idle_seconds
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._ended = True
        self._connections.remove(self)
        if self._writable is not None:
            self._writable.set()
        gone = list(self._exchanges)
        if self._reading is not None and self._reading not in gone:
            gone.append(self._reading)
        self._exchanges.clear()
        self._reading = None
        for exchange in gone:
            self._lose(exchange)

    def _lose(self, exchange: Exchange) -> None:
        if exchange.finished:
            return
        exchange.finished = exchange.gone = True
        self._release(exchange)
        self._service.finished(exchange, None, 0)
        if exchange.on_gone is not None:
            exchange.on_gone()

    def pause_writing(self) -> None:
        self._writable = self._writable or asyncio.Event()
        self._writable.clear()
        self.due = self._connections.now() + self._limits.write_seconds

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
        self._set_due()

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        between = not self._exchanges and not self._reading_head
        if between and self._known is not None and self._known.begins(data):
            self._read_known(self._known, data)
            return
        self._last = None
        self._parse(data)
        if between and self._last is not None:
            self._known = self._connections.heads.of(data, self._last)
        self._last = None

    def _read_known(self, known: KnownHead, data: bytes) -> None:
        """The same head as before, with its whole body: nothing is left for the parser to say."""
        exchange = Exchange(known.method, known.path, known.query, known.fields, self.client)
        self._admit(exchange)
        exchange.received = known.size
        exchange.whole = True
        if not exchange.discarding:
            exchange.body = data[len(known.head) :]
            self._hold(exchange, known.size)
        self._advance()

    def _parse(self, data: bytes) -> None:
        if self._reading_head and not self._head.grown(len(data)):
            self._refuse_peer(431, "the head of the request is too large")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._transport.pause_reading()
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RequestError):
                self._refuse_peer(cause.status, str(cause))
            else:
                self._refuse_peer(400, "this is not an HTTP request")

    def eof_received(self) -> None:
        # A client that has closed its side is taken to have left, as nginx does.
        return

    # The parser's side

    def on_message_begin(self) -> None:
        self._reading_head = True
        self._head = RequestHead(self._limits.max_header_bytes)
        self._chunks = []
        if len(self._exchanges) >= _MOST_PIPELINED:
            raise RequestError(429, "too many requests on one connection at a time")
        if not self._exchanges:
            self.due = self._connections.now() + self._limits.header_seconds

    def on_url(self, url: bytes) -> None:
        self._head.add_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.add_field(name, value)

    def on_headers_complete(self) -> None:
        self._reading_head = False
        path, query = target_of(self._head.url)
        exchange = Exchange(
            self._parser.get_method().decode("latin-1"),
            path,
            query,
            self._head.fields,
            self.client,
            # Another protocol may be asked for and ignored, but what follows is not HTTP then.
            keep_alive=self._parser.should_keep_alive() and not self._parser.should_upgrade(),
        )
        self._reading = exchange
        self._admit(exchange, self._head)
        if not exchange.discarding and self._head.expects_continue():
            self._transport.write(CONTINUE)
        if len(self._exchanges) == 1:
            self.due = self._connections.now() + self._limits.body_seconds
        if exchange.discarding:
            self._advance()

    def on_body(self, chunk: bytes) -> None:
        exchange = self._reading
        if exchange is None:
            return
        exchange.received += len(chunk)
        if exchange.discarding:
            if exchange.received > self._limits.max_body_bytes * _DISCARDED:
                self._close()
            return
        self._chunks.append(chunk)
        self._hold(exchange, len(chunk))
        if exchange.discarding:
            self._advance()

    def on_message_complete(self) -> None:
        exchange = self._reading
        self._reading = None
        if exchange is None:
            return
        exchange.whole = True
        if not exchange.discarding:
            chunks = self._chunks
            exchange.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._chunks = []
            self._last = exchange
        self._advance()

    # Answers, in the order of the requests

    def _admit(self, exchange: Exchange, head: RequestHead | None = None) -> None:
        """The head is there: the exchange takes its place in line, perhaps to be refused."""
        exchange.send = self._send
        if self.principal is not None:
            exchange.principal = exchange.client = self.principal
        try:
            if head is not None:
                head.require_clear()
            self._most = self._service.admit(exchange)
            self._check_declared(exchange)
        except RequestError as error:
            self._discard(exchange, Response.of_error(error))
        self._exchanges.append(exchange)

    def _hold(self, exchange: Exchange, size: int) -> None:
        """`size` more bytes of body are held, perhaps one too many."""
        exchange.held += size
        self._connections.held += size
        if exchange.received > self._most:
            self._discard(exchange, Response.of_error(too_large(self._most, close=True)))
        elif self._connections.held > self._limits.max_held_bytes:
            why = unavailable("other requests fill the memory that all may hold")
            self._discard(exchange, Response.of_error(why))

    def _check_declared(self, exchange: Exchange) -> None:
        declared = exchange.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self._most:
            raise too_large(self._most, close=int(declared[:20]) > self._most * _DISCARDED)

    def _discard(self, exchange: Exchange, refusal: Response) -> None:
        exchange.refusal = refusal
        exchange.discarding = True
        self._chunks = []
        self._release(exchange)

    def _release(self, exchange: Exchange) -> None:
        """Its body no longer counts against what all requests may hold."""
        self._connections.held -= exchange.held
        exchange.held = 0

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
            self.due = _NEVER
            self._service.handle(exchange)

    def _send(self, exchange: Exchange, response: Response) -> None:
        """Write an answer. Only the first exchange in line is ever answered."""
        if self._ended or exchange.finished:
            return
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

    # Patience

    def _set_due(self) -> None:
        limits, now = self._limits, self._connections.now()
        if self._writable is not None and not self._writable.is_set():
            self.due = now + limits.write_seconds
        elif self._exchanges:
            first = self._exchanges[0]
            self.due = _NEVER if first.whole else now + limits.body_seconds
        else:
            self.due = now + (limits.header_seconds if self._reading_head else limits.idle_seconds)

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand and nothing was begun."""
        return not self._exchanges and not self._reading_head

    def accepted(self) -> list[Exchange]:
        """The exchanges that hold a place, or were told to come, and have no answer yet."""
        return [one for one in self._exchanges if one.admitted or one.arriving]

    def overdue(self) -> None:
        """Patience is over: a slow sender hears of it, whoever else is simply closed."""
        if self._ended or self._transport.get_write_buffer_size():
            self.abort()
        elif self._exchanges or self._reading_head:
            what = "head" if self._reading_head else "body"
            self._refuse_peer(408, f"the {what} of the request did not come in time")
        else:
            self._close()

    def close_when_idle(self) -> None:
        if self.idle:
            self._close()

    def abort(self) -> None:
        self._ended = True
        self._transport.abort()

    def _refuse_peer(self, status: int, why: str) -> None:
        """The stream can no longer be trusted: answer what is being read, and end it."""
        exchange = self._reading
        if exchange is None:
            exchange = Exchange("GET", "", b"", {}, self.client, keep_alive=False)
            exchange.send = self._send
        if not exchange.finished and not (self._exchanges and self._exchanges[0] is not exchange):
            body = Response.of_error(RequestError(status, why, close=True))
            self._send(exchange, body)
        self._close(still_sending=True)

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


def too_large(limit: int, *, close: bool = False) -> RequestError:
    """413, for what may not be read."""
    return RequestError(413, f"the body is larger than {limit} bytes", close=close)
