"""The gRPC port: the same loop, the same limits, the same certificates as HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakSet

from ..http2.connection import Bounds, Connection
from ..http2.frames import LARGEST_WINDOW, USUAL_WINDOW
from ..http_settings import HttpSettings
from ..listening import BACKLOG, Connections, open_socket
from .framing import PREFIX
from .service import Service

if TYPE_CHECKING:
    import ssl

_MOST_STREAMS = 4096


class Server:
    """A port that listens, and the connections that came through it."""

    def __init__(
        self, server: asyncio.Server, service: Service, peers: WeakSet[Connection]
    ) -> None:
        self._server = server
        self._service = service
        self._peers = peers
        self.port = int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take no more connections, and ask those that stand for no more calls."""
        self._server.close()
        self._service.close()
        for peer in list(self._peers):
            peer.begin_to_leave()


async def listen(
    service: Service,
    port: int,
    http: HttpSettings,
    connections: Connections,
    tls: ssl.SSLContext | None,
) -> Server:
    """Listen on the host of the HTTP port; raises Refusal when that cannot be had."""
    # A stream's window holds the largest message, so no stream has to be told of more.
    room = min(LARGEST_WINDOW, max(USUAL_WINDOW, http.limits.max_body_bytes + PREFIX))
    bounds = Bounds(min(_MOST_STREAMS, http.max_concurrency), room)
    peers: WeakSet[Connection] = WeakSet()

    def connected() -> Connection:
        peer = Connection(service, connections, bounds)
        peers.add(peer)
        return peer

    server = await asyncio.get_running_loop().create_server(
        connected,
        sock=open_socket(http.host, port),
        backlog=BACKLOG,
        ssl=tls,
        ssl_handshake_timeout=http.limits.header_seconds if tls is not None else None,
    )
    return Server(server, service, peers)
