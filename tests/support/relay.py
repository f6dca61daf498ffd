"""A relay on loopback that counts what a client and a registry say, and cuts the line when told."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Counts one direction, in `carried`: what comes down if `downward`, else what goes up.

    It cuts the line at the counts in `cuts`, and before the pieces of uploads with the numbers in
    `pieces`; what was cut is taken out of the lists. After each piece of data it rests `pause` s.
    """

    upstream: tuple[str, int]
    downward: bool
    cuts: list[int] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    pause: float = 0.0
    carried: int = 0
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.upstream) as server:
            source, target = (server, client) if self.downward else (client, server)
            back = threading.Thread(target=_copy, args=(target, source), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while (data := source.recv(65536)) and not self.cuts_before(data):
                    target.sendall(data)
                    time.sleep(self.pause)
                    if self.cuts_after(len(data)):
                        break
            for end in (server, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(10)

    def cuts_before(self, data: bytes) -> bool:
        with self.lock:
            self.seen += data.startswith(b"PATCH ")
            return _reached(self.pieces, self.seen)

    def cuts_after(self, count: int) -> bool:
        with self.lock:
            self.carried += count
            return _reached(self.cuts, self.carried)


def _reached(marks: list[int], count: int) -> bool:
    if marks and count >= marks[0]:
        marks.pop(0)
        return True
    return False


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextlib.contextmanager
def relayed(address: str, *, downward: bool, **how) -> Iterator[tuple[Relay, str]]:
    """A relay to `address`, and the address at which it listens."""
    host, _, port = address.partition(":")
    relay = Relay((host, int(port)), downward, **how)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=relay.serve, args=(listener,), daemon=True)
        serving.start()
        try:
            yield relay, f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    serving.join(10)
