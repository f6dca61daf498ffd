"""Lines of JSON between the server and its worker, over a socket pair that nobody else can reach.

A line is bounded: the worker is ours, but what it is told came from a client.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Any

import orjson

MOST_LINE = 64 << 20


class Channel:
    """The worker's end: reads without waiting, writes waiting."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._held = bytearray()
        self._lines: deque[dict[str, Any]] = deque()
        self.closed = False

    def fileno(self) -> int:
        return self._peer.fileno()

    def receive(self, *, wait: bool) -> dict[str, Any] | None:
        """The next message; None when there is none now, or never will be (`closed`)."""
        while not self._lines and not self.closed:
            self._peer.setblocking(wait)
            try:
                data = self._peer.recv(1 << 16)
            except BlockingIOError:
                return None
            if not data:
                self.closed = True
                break
            self._take(data)
        return self._lines.popleft() if self._lines else None

    def _take(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > MOST_LINE:
            raise ValueError("a message is longer than any that the server sends")
        *whole, rest = bytes(self._held).split(b"\n")
        self._held = bytearray(rest)
        self._lines.extend(orjson.loads(line) for line in whole if line)

    def send(self, message: dict[str, Any]) -> None:
        """Raises OSError when the server is gone."""
        self._peer.setblocking(True)
        self._peer.sendall(packed(message))


def packed(message: dict[str, Any]) -> bytes:
    """One message as it travels."""
    return orjson.dumps(message) + b"\n"
