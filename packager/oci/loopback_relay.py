"""Carries a loopback port of this machine to a container that has no published port.

A container on an internal network has no way out, and Docker publishes no port for it. The host
can reach it all the same; this relay lets a caller on 127.0.0.1 do so under the port that was asked
for.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

from packager.errors import UnavailableError

_CHUNK = 1 << 16
_CONNECT_SECONDS = 10


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)  # noqa: S101 - tells mypy the attribute's owner
        client: socket.socket = self.request
        try:
            target = socket.create_connection(self.server.target, timeout=_CONNECT_SECONDS)
        except OSError:
            return  # the caller sees its connection closed, as it would without a relay
        with target:
            target.settimeout(None)
            backward = threading.Thread(target=_pump, args=(target, client), daemon=True)
            backward.start()
            _pump(client, target)
            backward.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    # With the five that socketserver takes a hundred callers at once are cut off, where the server
    # behind has an answer for each.
    request_queue_size = 1024

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self.target = target
        super().__init__(("127.0.0.1", port), _Connection)


class LoopbackRelay:
    """Listens on 127.0.0.1:`port` until `close`. Raises UnavailableError when the port is taken."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        try:
            self._server = _Server(port, target)
        except OSError as error:
            raise UnavailableError(
                "the port cannot be listened on",
                where=f"127.0.0.1:{port}",
                got=error.strerror,
                next_step="choose another one with --port, or leave it out",
            ) from error
        threading.Thread(
            target=self._server.serve_forever, name="loopback-relay", daemon=True
        ).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening; connections that are open end with the container."""
        self._server.shutdown()
        self._server.server_close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy one direction until its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
