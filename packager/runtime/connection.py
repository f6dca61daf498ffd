"""One HTTP/1.1 connection: bytes in, exchanges out, and a bound on everything that a peer can do.
What it says stands in `answering`.

The hostile bytes are parsed by llhttp (through httptools). What stands here is what a parser leaves
open: how large a head may be, how long head, body and silence may take, and that a client that
leaves takes its work with it.
Sources: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from .answering import Answering, Service
from .errors import NO_MEMORY, RequestError
from .exchange import Exchange, Response
from .known_heads import KnownHead
from .lifecycle import unavailable
from .request_head import RequestHead
from .tls import principal
from .wire import CONTINUE, target_of

if TYPE_CHECKING:
    from .listening import Connections

# Many clients read an answer only when they have sent everything, so closing on them would show
# them a reset instead of the refusal. This many bytes are let run into nothing.
_DISCARDED = 8
_MOST_PIPELINED = 64
# A chunk of one byte takes five beside it.
_FRAMING = 8
_FRAMED_BY = (b"content-length", b"transfer-encoding")


class Connection(Answering):
    """A peer."""

    def __init__(self, service: Service, connections: Connections) -> None:
        super().__init__(service, connections)
        self.client = ""
        self.principal: str | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._reading: Exchange | None = None
        self._head = RequestHead(self._limits.max_header_bytes)
        self._chunks: list[bytes] = []
        self._most = 0
        self._known: KnownHead | None = None
        self._last: Exchange | None = None
        # Bytes that a body took beside itself: sizes of chunks, their extensions, trailers.
        self._framing = 0
        self._passes_by = False

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
        if self._reading is not None:
            self._framing += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RequestError):
                self._refuse_peer(cause.status, str(cause))
            elif isinstance(cause, MemoryError):
                self._refuse_peer(503, NO_MEMORY)
            else:
                self._refuse_peer(400, "this is not an HTTP request")
        else:
            exchange = self._reading
            if exchange is not None and self._framing > self._most_framing(exchange.received):
                self._refuse_peer(431, "too much is sent beside the body of the request")

    def _most_framing(self, received: int) -> int:
        return self._limits.max_header_bytes + _FRAMING * received

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            if not self._passes_by:
                self._transport.pause_reading()
                return
            # Another protocol is asked for together with a request that has a body, as Java's own
            # client does. It is not spoken here, and the request is answered; but the parser takes
            # what follows its head for the other protocol, so another one reads the body.
            self._passes_by = False
            self._parser = httptools.HttpRequestParser(_BodyOnly(self))
            said = self._head.fields
            fields = [b"%b: %b\r\n" % (name, said[name]) for name in _FRAMED_BY if name in said]
            self._parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *fields, b"\r\n"]))
            self._parser.feed_data(data[asked.args[0] :])

    def eof_received(self) -> None:
        # A client that has closed its side is taken to have left, as nginx does.
        return

    # The parser's side

    def on_message_begin(self) -> None:
        self._reading_head = True
        self._head = RequestHead(self._limits.max_header_bytes)
        self._chunks = []
        self._framing = 0
        if len(self._exchanges) >= _MOST_PIPELINED:
            raise RequestError(429, "too many requests on one connection at a time")
        if not self._exchanges:
            self.due = self._connections.now() + self._limits.header_seconds

    def on_url(self, url: bytes) -> None:
        self._head.add_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes after the body says nothing of it: who has looked at the head has seen all.
        if self._reading_head:
            self._head.add_field(name, value)
        else:
            self._head.count_field()

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
        self._passes_by = self._parser.should_upgrade() and self._head.has_body()
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
        self._framing -= len(chunk)
        if exchange.discarding:
            if exchange.received > self._limits.max_body_bytes * _DISCARDED:
                self._close()
            return
        self._chunks.append(chunk)
        self._hold(exchange, len(chunk))
        if exchange.discarding:
            self._advance()

    def on_message_complete(self) -> None:
        if self._passes_by:
            return
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

    # What is read takes its place in line

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
            self._discard(exchange, Response.of_error(error, exchange.path))
        self._exchanges.append(exchange)

    def _hold(self, exchange: Exchange, size: int) -> None:
        """`size` more bytes of body are held, perhaps one too many."""
        exchange.held += size
        self._connections.held += size
        if exchange.received > self._most:
            large = too_large(self._most, close=True)
            self._discard(exchange, Response.of_error(large, exchange.path))
        elif self._connections.held > self._limits.max_held_bytes:
            why = unavailable("other requests fill the memory that all may hold")
            self._discard(exchange, Response.of_error(why, exchange.path))

    def _check_declared(self, exchange: Exchange) -> None:
        declared = exchange.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self._most:
            raise too_large(self._most, close=int(declared[:20]) > self._most * _DISCARDED)

    def _discard(self, exchange: Exchange, refusal: Response) -> None:
        exchange.refusal = refusal
        exchange.discarding = True
        self._chunks = []
        self._release(exchange)

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

    def _refuse_peer(self, status: int, why: str) -> None:
        """The stream can no longer be trusted: answer what is being read, and end it."""
        exchange = self._reading
        if exchange is None:
            exchange = Exchange("GET", "", b"", {}, self.client, keep_alive=False)
            exchange.send = self._send
        if not exchange.finished and not (self._exchanges and self._exchanges[0] is not exchange):
            error = RequestError(status, why, close=True)
            self._send(exchange, Response.of_error(error, exchange.path))
        self._close(still_sending=True)


class _BodyOnly:
    """The parser's side of a connection whose head was read before."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


def too_large(limit: int, *, close: bool = False) -> RequestError:
    """413, for what may not be read."""
    return RequestError(413, f"the body is larger than {limit} bytes", close=close)
