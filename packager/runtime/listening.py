"""The open port, and the connections that came through it, each within its bounds.

A connection beyond the bound takes the place of the one that has been idle longest; where none is
idle, it is closed at once. One sweep a second looks for peers whose time is over, so that a request
costs no timer.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .addresses import family_of
from .answering import Service
from .connection import Connection
from .errors import ExitCode, Refusal
from .exchange import Exchange
from .http_settings import HttpSettings, Limits
from .known_heads import KnownHeads
from .wire import http_date

BACKLOG = 2048
_SWEEP_SECONDS = 0.5
_RESERVED_FILES = 64


class Peer(Protocol):
    """What is asked of a connection, whatever it speaks. `due` is when it is looked after."""

    due: float

    @property
    def idle(self) -> bool: ...

    def accepted(self) -> list[Exchange]: ...

    def overdue(self) -> None: ...

    def close_when_idle(self) -> None: ...

    def abort(self) -> None: ...


class Connections:
    """All open connections. `date_line` is the header field of the current second, `held` the bytes
    of body of all requests that are not answered yet."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refused = 0
        self.held = 0
        self.date_line = b""
        self.heads = KnownHeads()
        self._most = min(limits.max_connections, raise_file_limit() - _RESERVED_FILES)
        # A dict keeps the order of arrival; whoever becomes active moves to its end.
        self._open: dict[Peer, None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._sweep()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Peer) -> None:
        self._open[connection] = None
        if len(self._open) > self._most:
            self.refused += 1
            idle = next((other for other in self._open if other.idle), connection)
            idle.abort()

    def remove(self, connection: Peer) -> None:
        self._open.pop(connection, None)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it is done; the loop itself only holds it weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def in_hand(self) -> list[Exchange]:
        """The requests that were accepted and are not answered yet."""
        return [exchange for other in self._open for exchange in other.accepted()]

    def close_idle(self) -> None:
        for connection in list(self._open):
            connection.close_when_idle()

    def abort(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def _sweep(self) -> None:
        now = self.now()
        self.date_line = b"date: %b\r\n" % http_date(time.time())
        for connection in [other for other in self._open if other.due <= now]:
            connection.overdue()
        self._loop.call_later(_SWEEP_SECONDS, self._sweep)


async def listen(
    listener: socket.socket, service: Service, connections: Connections, tls: Any = None
) -> asyncio.Server:
    """Accept connections on an open socket, over TLS where a context is given."""
    handshake = connections.limits.header_seconds if tls is not None else None
    return await asyncio.get_running_loop().create_server(
        lambda: Connection(service, connections),
        sock=listener,
        backlog=BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=handshake,
    )


@contextmanager
def listening(http: HttpSettings) -> Iterator[socket.socket]:
    """An open socket. It is made from an address, so that no resolver is ever asked."""
    with open_socket(http.host, http.port) as listener:
        yield listener


def open_socket(host: str, port: int) -> socket.socket:
    """Raises Refusal when the address cannot be had."""
    family = family_of(host) or socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it, Nagle's
    # algorithm and delayed acknowledgements cost 40 ms a request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Refusal(
            ExitCode.UNAVAILABLE, f"cannot listen on {host} port {port}: {error.strerror}"
        ) from error
    return listener


def raise_file_limit() -> int:
    """As many open files as the machine allows to this process; returns the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 20
