"""A load generator that does not wait for answers: requests leave when their time has come.

Times of arrival are drawn before, so that a slow answer delays no later request (open loop), and a
reply takes from the time that was drawn to its last byte.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
_READ = 1 << 20
_GRACE_S = 30.0


@dataclass(frozen=True)
class Played:
    """For each request: when it came, in seconds, how long its reply took in milliseconds (NaN
    where none came), and the HTTP status (0 where none came)."""

    at_s: Times
    reply_ms: Times
    status: NDArray[np.int64]

    @property
    def answered(self) -> NDArray[np.bool_]:
        return self.status == 200


@dataclass
class _Connection:
    socket: socket.socket
    request: int = -1
    buffer: bytearray = field(default_factory=bytearray)
    needed: int = 0

    def read(self) -> int | None:
        """The status once the whole answer is here."""
        self.buffer += self.socket.recv(_READ, socket.MSG_DONTWAIT)
        if not self.needed:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self.buffer[:end]).lower()
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            self.needed = end + 4 + length
        if len(self.buffer) < self.needed:
            return None
        status = int(self.buffer[9:12])
        self.buffer.clear()
        self.needed = 0
        return status


class Generator:
    """Connections to one server on loopback; a context manager that closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._poll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._free: list[_Connection] = []

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all.values():
            connection.socket.close()
        self._poll.close()

    def play(self, at_s: Times, bodies: Sequence[bytes]) -> Played:
        """Send one request at each of the ascending `at_s`, bodies in turn."""
        count = len(at_s)
        times = at_s.tolist()
        reply, status = np.full(count, np.nan), np.zeros(count, np.int64)
        sent = done = 0
        began = time.perf_counter() + 0.05
        last = times[-1] + _GRACE_S
        while done < count:
            now = time.perf_counter() - began
            while sent < count and times[sent] <= now:
                self._send(bodies[sent % len(bodies)], sent)
                sent += 1
            due = times[sent] - now if sent < count else _GRACE_S
            for number, code, at in self._answers(began, due):
                reply[number], status[number] = (at - times[number]) * 1e3, code
                done += 1
            if now > last:
                raise SystemExit(f"{count - done} requests were not answered in {_GRACE_S:g} s")
        return Played(at_s, reply, status)

    def closed(self, clients: int, seconds: float, bodies: Sequence[bytes]) -> Times:
        """Milliseconds of the replies that `clients` got who each ask again at once."""
        return self._closed(clients, seconds, bodies)[0]

    def rate(self, clients: int, seconds: float, bodies: Sequence[bytes]) -> float:
        """Replies a second to so many clients, counted from the end of everybody's first reply to
        the last one, since replies come in batches: a span that begins or ends within a run would
        count a part of it."""
        at_s = self._closed(clients, seconds, bodies)[1]
        return float((len(at_s) - clients) / (at_s[-1] - at_s[clients - 1]))

    def _closed(self, clients: int, seconds: float, bodies: Sequence[bytes]) -> tuple[Times, Times]:
        """Milliseconds of each reply, and when it came."""
        begun: dict[int, float] = {}
        found: list[float] = []
        ended: list[float] = []
        began = time.perf_counter()
        for number in range(clients):
            begun[number] = time.perf_counter() - began
            self._send(bodies[number % len(bodies)], number)
        turn = clients
        while begun:
            for number, code, at in self._answers(began, _GRACE_S):
                if code != 200:
                    raise SystemExit(f"the server answers {code} to {clients} clients")
                started = begun.pop(number)
                found.append((at - started) * 1e3)
                ended.append(at)
                if at < seconds:
                    begun[number] = at
                    self._send(bodies[turn % len(bodies)], number)
                    turn += 1
        return np.array(found), np.array(ended)

    def _send(self, body: bytes, number: int) -> None:
        connection = self._free.pop() if self._free else self._open()
        connection.request = number
        connection.socket.sendall(body)

    def _open(self) -> _Connection:
        made = socket.create_connection(("127.0.0.1", self._port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _READ)
        connection = self._all[made.fileno()] = _Connection(made)
        self._poll.register(made.fileno(), select.EPOLLIN)
        return connection

    def _answers(self, began: float, wait_s: float) -> list[tuple[int, int, float]]:
        """(request, status, seconds since `began`) of every answer that is whole by now, or comes
        first within `wait_s`. `select` waits to the microsecond, which `epoll` does not."""
        found: list[tuple[int, int, float]] = []
        if not select.select([self._poll.fileno()], [], [], max(0.0, wait_s))[0]:
            return found
        for number, _ in self._poll.poll(0):
            connection = self._all[number]
            status = connection.read()
            if status is not None:
                found.append((connection.request, status, time.perf_counter() - began))
                self._free.append(connection)
        return found


def poisson(load: float, service_s: float, seconds: float, seed: int) -> Times:
    """Arrivals of a Poisson process that offer `load` to a server of `service_s`, a typical path.

    A quarter of a minute at 90 % load can be anything: between two draws the 95th percentile of
    waiting differs by more than any model could be off. So of `DRAWS` paths that one is taken whose
    waiting before a server of constant time comes closest to that of a path without end.
    """
    random = np.random.default_rng(seed)
    rate = load / service_s
    wanted = _waiting_p95(np.sort(random.uniform(0.0, LONG / rate, LONG)), service_s)
    count = round(rate * seconds)
    paths = [np.sort(random.uniform(0.0, seconds, count)) for _ in range(DRAWS)]
    return min(paths, key=lambda path: abs(_waiting_p95(path, service_s) - wanted))


def waiting(at_s: Times, service_s: float) -> Times:
    """How long each waits before a server of constant time: Lindley's recursion, in closed form."""
    work = np.cumsum(service_s - np.diff(at_s, prepend=at_s[0]))
    return np.asarray(work - np.minimum.accumulate(np.minimum(work, service_s)))


def _waiting_p95(at_s: Times, service_s: float) -> float:
    return float(np.percentile(waiting(at_s, service_s), 95))


LONG, DRAWS = 400_000, 100
