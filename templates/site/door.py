"""The door: the one published port of a site, in front of whichever version is in service.

It stands before versions come and after they go, so that a switch closes no connection. A client's
connection ends here; each request goes, over a connection of its own, to the version that the
site's state file names at that moment. Requests that began before a switch are finished by the
version that began them.

HTTP/1.1 is taken apart just far enough to know where a request and its answer end (RFC 9112). What
is ambiguous about that is refused, so that nobody smuggles a request through. A connection that
begins like HTTP/2 is gRPC's: it is carried as bytes, to the gRPC port of one version, which says
goodbye on it (GOAWAY) when it stops; a client comes back then, to the version after it.

    python -I -c "$(cat door.py)" STATE_FILE LISTEN SERVER_PORT,GRPC_PORT DRAIN_SECONDS [SOCKETS]

Servers are found by their containers' names; in SOCKETS, where it is given, at NAME/server and, for
gRPC, at NAME/grpc.

A request that carries `Packager-Slot: NAME` goes to the candidate of that name, if the state file
names one: the self-test goes the same way as everybody, before anybody does.
"""

import asyncio
import contextlib
import pathlib
import re
import signal
import socket
import sys

MAX_HEAD = 64 * 1024
CHUNK = 256 * 1024
HEAD_SECONDS = 30
IDLE_SECONDS = 120
CONNECT_SECONDS = 10
# In SOCKETS: containerd's monitor looks every 10 s, and what it starts needs some as well.
HEALING_SECONDS = 30
OPEN_SECONDS = 2
# A container that was started again has another address, and its old one may be somebody else's.
FRESH_SECONDS = 2
END_SECONDS = 0.2
MAX_CONNECTIONS = 1024
# A request of up to so many bytes is given to another version when the first one ends without a
# word. An inference changes nothing, so asking again does no harm.
MAX_KEPT = 128 * 1024
MAX_ANSWER = 1024 * 1024
TRIES = 3
# On a machine that stands still all of CONNECT_SECONDS may be over before anybody was asked twice.
LEAST_ROUNDS = 3
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
NO_BODY = (204, 304)
UNAVAILABLE = 503


class Refused(Exception):
    """A message that cannot be carried on; the status says why."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Silent(Exception):
    """A server ended before it answered anything, or says that it cannot just now."""


class Slots:
    """Which container serves, read again whenever the state file was replaced."""

    def __init__(self, path, port, grpc_port, sockets=None):
        self._path = pathlib.Path(path)
        self._port = port
        self._grpc_port = grpc_port
        self._sockets = sockets and pathlib.Path(sockets)
        self._seen = None
        self._names = {}
        self._addresses = {}
        self._lookups = {}

    def named(self, asked):
        """The containers for a request, best first; `asked` is its Packager-Slot, or None.

        While a version is watched, the one before stands by and answers when it does not.
        """
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                lines = self._path.read_text(encoding="utf-8").splitlines()
                pairs = (line.partition("=") for line in lines)
                stood = self._standing()
                self._names = {key: value for key, equals, value in pairs if equals}
                self._seen = seen
                self._forget_all_but(stood & self._standing())
        except OSError:
            pass  # what was known last is the best that there is
        if asked is None:
            return [name for key in ("serving", "fallback") if (name := self._names.get(key))]
        return [asked] if asked in map(self._names.get, ("candidate", "serving")) else []

    def _standing(self):
        return {
            self._names[key] for key in ("serving", "fallback", "candidate") if self._names.get(key)
        }

    def _forget_all_but(self, names):
        """Who comes into the state was started just now; what was known of it is older."""
        for known in (self._addresses, self._lookups):
            for name in set(known) - names:
                del known[name]

    def others(self, asked, tried):
        """Whether a container is left that was not tried yet."""
        return any(name not in tried for name in self.named(asked))

    async def connect(self, asked, tried=(), grpc=False):
        """A connection to a container, and its name; those in `tried` come last.

        One may be starting, and a switch may come meanwhile.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (HEALING_SECONDS if self._sockets else CONNECT_SECONDS)
        rounds = 0
        while True:
            names = self.named(asked)
            if not names and asked is not None:
                raise Refused(503, "no version of that name stands here")
            for name in sorted(names, key=lambda name: name in tried):
                with contextlib.suppress(OSError):
                    return name, *await self._open(name, grpc, asked is not None)
            rounds += 1
            if loop.time() >= deadline and rounds >= LEAST_ROUNDS:
                raise Refused(503, "no version answers")
            await asyncio.sleep(0.05)

    async def _open(self, name, grpc, sure):
        if self._sockets:
            place = self._sockets / name / ("grpc" if grpc else "server")
            return await asyncio.open_unix_connection(place, limit=MAX_HEAD)
        port = self._grpc_port if grpc else self._port
        try:
            address = await self._address(name, sure)
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(address, port, limit=MAX_HEAD), OPEN_SECONDS
            )
        except (TimeoutError, OSError) as error:
            self._addresses.pop(name, None)  # it may have come back under another address
            raise OSError("no connection") from error
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return reader, writer

    async def _address(self, name, sure):
        """Where a container is: as it is known, and asked again behind that now and then; `sure`
        when it has to be this one and no other, as for the self-test.
        """
        known, since = self._addresses.get(name, (None, 0))
        if known is None or sure:
            # A resolver may take long to say that one is gone, and nobody waits for that who has
            # another to ask; nor do lookups of it stand in the way of others.
            found = await asyncio.wait_for(asyncio.shield(self._look_up(name)), OPEN_SECONDS)
            return found[0][4][0]
        now = asyncio.get_running_loop().time()
        if now - since > FRESH_SECONDS:
            self._addresses[name] = known, now
            self._look_up(name)
        return known

    def _look_up(self, name):
        """One lookup of a name at a time; what it finds is known then."""
        loop = asyncio.get_running_loop()

        def looked_up(lookup):
            failed = lookup.cancelled() or lookup.exception()
            if self._lookups.get(name) is lookup:
                del self._lookups[name]
                if not failed:
                    self._addresses[name] = lookup.result()[0][4][0], loop.time()

        if name not in self._lookups:
            asked = loop.getaddrinfo(name, self._port, family=socket.AF_INET)
            self._lookups[name] = asyncio.ensure_future(asked)
            self._lookups[name].add_done_callback(looked_up)
        return self._lookups[name]


class Head:
    """The head of a request or an answer: its first line, its fields, and what they mean."""

    def __init__(self, data):
        first, *lines = data[:-4].split(b"\r\n")
        self.first = first
        self.fields = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.fullmatch(name) or b"\n" in line or b"\0" in line:
                raise Refused(400, "a header field cannot be understood")
            self.fields.append((name, value.strip(b" \t")))

    def values(self, name):
        return [value for key, value in self.fields if key.lower() == name]

    def words(self, name):
        text = b",".join(self.values(name)).lower()
        return [word.strip() for word in text.split(b",") if word.strip()]

    def body(self):
        """`chunked`, a length in bytes, or None where no field says."""
        codings, lengths = self.words(b"transfer-encoding"), self.words(b"content-length")
        if codings:
            if codings != [b"chunked"] or lengths:
                raise Refused(400, "the length of the body is ambiguous")
            return "chunked"
        if not lengths:
            return None
        if len(set(lengths)) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
            raise Refused(400, "the length of the body is ambiguous")
        return int(lengths[0])

    def forwarded(self, *more):
        """The head as it goes on: what is between two neighbours only stays behind."""
        named = set(self.words(b"connection"))
        dropped = {b"connection", b"keep-alive", b"proxy-connection", b"packager-slot", b"upgrade"}
        kept = [
            name + b": " + value
            for name, value in self.fields
            if name.lower() not in dropped and name.lower() not in named
        ]
        return b"\r\n".join([self.first, *kept, *more, b"", b""])


async def read_head(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refused(431, "the head is too long") from None


async def carry_length(reader, writer, length):
    while length:
        data = await reader.read(min(length, CHUNK))
        if not data:
            raise asyncio.IncompleteReadError(b"", length)
        length -= len(data)
        writer.write(data)
        await writer.drain()


async def carry_chunked(reader, writer):
    """A chunked body, chunk by chunk as they come, its trailers included."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = SIZE.match(line)
        if not size or line[size.end() : size.end() + 1] not in (b"\r", b";", b" "):
            raise Refused(400, "a chunk cannot be understood")
        writer.write(line)
        length = int(size.group(), 16)
        if not length:
            break
        await carry_length(reader, writer, length + 2)
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        await writer.drain()
        if line == b"\r\n":
            return


async def carry(reader, writer, body):
    if body == "chunked":
        await carry_chunked(reader, writer)
    elif body:
        await carry_length(reader, writer, body)


async def carry_all(reader, writer):
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


class Request:
    """What of a request has come so far: goes to a server, and is kept while it is small.

    Written to like a connection, so that `carry` fills it.
    """

    def __init__(self, head):
        self.kept = bytearray(head)
        self._server = None

    def go_to(self, server):
        self._server = server
        server.write(bytes(self.kept))

    def write(self, data):
        if self.kept is not None:
            self.kept += data
            if len(self.kept) > MAX_KEPT:
                self.kept = None
        self._server.write(data)

    async def drain(self):
        try:
            await self._server.drain()
        except OSError:
            if self.kept is None:
                raise  # else it may still be asked of another


class Client:
    """One client's connection, request after request."""

    def __init__(self, door, reader, writer):
        self.door = door
        self.reader = reader
        self.writer = writer
        self.idle = True

    async def serve(self):
        answered = True
        try:
            while answered and not self.door.stopping.is_set():
                self.idle = True
                first = await asyncio.wait_for(self.reader.read(1), IDLE_SECONDS)
                if not first:
                    return
                self.idle = False
                head = first + await asyncio.wait_for(read_head(self.reader), HEAD_SECONDS)
                if head.startswith(b"PRI * HTTP/2.0"):
                    await self.tunnel(head)
                    return
                answered = await self.exchange(Head(head))
        except Refused as refused:
            await self.refuse(refused)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # the client went away, or its server did in the midst of an answer
        finally:
            self.writer.close()

    async def exchange(self, head):
        """One request and its answer; whether the client may ask again on this connection."""
        method, _, rest = head.first.partition(b" ")
        version = rest.rpartition(b" ")[2]
        if not TOKEN.fullmatch(method) or version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise Refused(400, "no HTTP/1.1 request")
        stay = version == b"HTTP/1.1" and b"close" not in head.words(b"connection")
        slot = head.values(b"packager-slot")
        asked = slot[0].decode("latin-1") if slot else None
        request = Request(head.forwarded(b"Connection: close"))
        body = head.body()
        sending = None
        tried = []
        try:
            for _ in range(TRIES):
                name, there, to_there = await self.door.slots.connect(asked, tried)
                tried.append(name)
                try:
                    request.go_to(to_there)
                    sending = sending or asyncio.ensure_future(carry(self.reader, request, body))
                    left = request.kept is not None and self.door.slots.others(asked, tried)
                    return await self.answer(there, method, stay, sending, left)
                except Silent:
                    with contextlib.suppress(OSError):
                        await sending
                    if request.kept is None:
                        break
                finally:
                    to_there.close()
            raise Refused(502, "the server ended without an answer")
        finally:
            if sending:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await sending

    async def answer(self, there, method, stay, sending, left):
        """Carry the answer. Whether to stay connected."""
        head, status, first = await self.last_head(there, left)
        length = head.body()
        bodiless = method == b"HEAD" or status in NO_BODY
        whole = None
        if left and first and not bodiless and isinstance(length, int) and length <= MAX_ANSWER:
            # A server that ends in the midst of a small answer has not answered: another one does.
            try:
                whole = await there.readexactly(length)
            except (OSError, asyncio.IncompleteReadError):
                raise Silent from None
        if length is None and not bodiless:
            stay = False  # the end of the connection is the end of the answer
        # An answer before the end of the request (413, 503) leaves the rest of it unread.
        await asyncio.wait([sending], timeout=END_SECONDS)
        read = sending.done() and sending.exception() is None
        stay = stay and read and not self.door.stopping.is_set()
        self.writer.write(head.forwarded(*(() if stay else (b"Connection: close",))))
        if whole is not None:
            self.writer.write(whole)
        elif not bodiless and length is None:
            await carry_all(there, self.writer)
        elif not bodiless:
            await carry(there, self.writer, length)
        await self.writer.drain()
        return stay

    async def last_head(self, there, left):
        """The answer's head, its status, and whether no interim one (100 Continue) came before;
        those are carried as they come."""
        first = True
        while True:
            try:
                head = Head(await read_head(there))
                status = int(head.first.split(b" ", 2)[1])
            except (Refused, ValueError, IndexError):
                raise Refused(502, "the server's answer cannot be understood") from None
            except (OSError, asyncio.IncompleteReadError) as error:
                if not first or getattr(error, "partial", b""):
                    raise OSError("the answer ended early") from None
                raise Silent from None
            if status == UNAVAILABLE and left and first:
                raise Silent  # somebody else stands by, and may be able
            if status == 101:
                raise Refused(502, "no other protocol is spoken here")
            if status >= 200:
                return head, status, first
            first = False
            self.writer.write(head.forwarded())

    async def tunnel(self, head):
        """Bytes in both directions until one side ends."""
        _, there, to_there = await self.door.slots.connect(None, grpc=True)
        to_there.write(head)
        ways = [
            asyncio.ensure_future(carry_all(self.reader, to_there)),
            asyncio.ensure_future(carry_all(there, self.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            to_there.close()

    async def refuse(self, refused):
        text = str(refused).encode() + b"\n"
        with contextlib.suppress(OSError):
            self.writer.write(
                b"HTTP/1.1 %d Refused\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                b"Retry-After: 1\r\nConnection: close\r\n\r\n%s" % (refused.status, len(text), text)
            )
            await self.writer.drain()


class Door:
    """Listens until it is told to stop, then finishes what it carries."""

    def __init__(self, slots):
        self.slots = slots
        self.stopping = asyncio.Event()
        self.clients = {}

    async def arrived(self, reader, writer):
        if len(self.clients) >= MAX_CONNECTIONS:
            writer.close()
            return
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self, reader, writer)
        task = asyncio.current_task()
        self.clients[task] = client
        try:
            await client.serve()
        except asyncio.CancelledError:
            writer.close()  # it was idle, and the door closes
        finally:
            del self.clients[task]

    async def run(self, host, port, drain_seconds):
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        server = await asyncio.start_server(
            self.arrived, host, port, limit=MAX_HEAD, backlog=2048, reuse_address=True
        )
        sys.stdout.write(f"open {server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await self.stopping.wait()
        server.close()
        for task, client in self.clients.items():
            if client.idle:
                task.cancel()
        if self.clients:
            await asyncio.wait(list(self.clients), timeout=drain_seconds)


if __name__ == "__main__":
    state, listen, served, drain, *sockets = sys.argv[1:6]
    host, _, port = listen.rpartition(":")
    slots = Slots(state, *map(int, served.split(",")), *sockets)
    asyncio.run(Door(slots).run(host, int(port), float(drain)))
