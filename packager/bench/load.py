"""Two ways to load a server.

Closed loop: so many clients, each asks again when it has its answer. That shows what the server can
give, and hides what waiting costs, because slow answers slow the asking down.

Open loop: requests come at random (Poisson) at a mean rate, whatever the server does, as from many
people who know nothing of each other. Their time counts from when they were due, not from when they
could be sent (G. Tene, "coordinated omission").
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from packager.bench.connection import LOST, Connection
from packager.bench.figures import Step, Tally, step
from packager.bench.question import Question
from packager.bench.server import Server

_SWEEP_SECONDS = 0.1
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a step ends: after so many seconds or requests, whichever is first. Answers are waited
    for `patience` seconds; at most `connections` are open at a time (open loop)."""

    seconds: float
    requests: int | None = None
    patience: float = 30.0
    connections: int = 1024


async def closed(server: Server, question: Question, clients: int, bounds: Bounds) -> Step:
    """`clients` clients that ask without a pause."""
    return await _Closed(server, question, bounds, clients).run()


async def opened(
    server: Server, question: Question, rate: float, bounds: Bounds, seed: int
) -> Step:
    """Requests at random, `rate` a second on average; the same `seed` gives the same times."""
    return await _Open(server, question, bounds, rate, seed).run()


class _Load:
    """What both loops need: connections that are asked in turn, bounds, and a tally."""

    def __init__(self, server: Server, question: Question, bounds: Bounds) -> None:
        self.tally = Tally()
        self.connections: set[Connection] = set()
        self._server = server
        self._question = question
        self._bounds = bounds
        self._asked = 0
        self._deadline = 0.0
        self._helpers: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def _run(self, loop: str, load: float, begin: Callable[[], None]) -> Step:
        cpu, began = time.process_time(), time.perf_counter()
        self._deadline = began + self._bounds.seconds
        begin()
        await self._watch()
        taken = time.perf_counter() - began
        for connection in self.connections:
            connection.close()
        for task in self._helpers:
            task.cancel()
        return step(
            loop,
            load,
            taken,
            self._question.rows,
            self.tally,
            (time.process_time() - cpu) / taken,
        )

    @property
    def _ended(self) -> bool:
        most = self._bounds.requests
        return time.perf_counter() >= self._deadline or (most is not None and self._asked >= most)

    def _next(self) -> bytes:
        requests = self._question.requests
        self._asked += 1
        return requests[self._asked % len(requests)]

    def _busy(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.busy]

    def _idle(self) -> bool:
        """Whether nothing is to come any more."""
        return self._ended and not self._busy()

    async def _watch(self) -> None:
        """Until the end; an answer that does not come is given up."""
        while not self._idle():
            try:
                async with asyncio.timeout(_SWEEP_SECONDS):
                    await self._over.wait()
            except TimeoutError:
                pass
            self._over.clear()
            latest = time.perf_counter() - self._bounds.patience
            for connection in self._busy():
                if connection.asked < latest:
                    connection.close()

    def _start(self, task: asyncio.Task[None]) -> None:
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


class _Closed(_Load):
    def __init__(self, server: Server, question: Question, bounds: Bounds, clients: int) -> None:
        super().__init__(server, question, bounds)
        self._clients = clients

    async def run(self) -> Step:
        await asyncio.gather(*(self._connect(first=True) for _ in range(self._clients)))
        return await self._run("closed", self._clients, self._begin)

    def _begin(self) -> None:
        for connection in list(self.connections):
            self._ask(connection)

    def _ask(self, connection: Connection) -> None:
        if self._ended:
            self._over.set()
            return
        connection.ask(self._next(), time.perf_counter())

    async def _connect(self, *, first: bool = False) -> None:
        while first or not self._ended:
            try:
                connection = await self._server.connect(self._answered)
            except (OSError, TimeoutError):
                if first:
                    raise
                self._asked += 1
                self.tally.add(LOST, 0.0)
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self.connections.add(connection)
            if not first:
                self._ask(connection)
            return

    def _answered(self, connection: Connection, status: int, seconds: float) -> None:
        self.tally.add(status, seconds)
        if connection.open:
            # Not from within the parser: an answer would then be parsed inside of an answer.
            asyncio.get_running_loop().call_soon(self._ask, connection)
            return
        self.connections.discard(connection)
        if self._ended:
            self._over.set()
        else:
            self._start(asyncio.ensure_future(self._connect()))


class _Open(_Load):
    def __init__(
        self, server: Server, question: Question, bounds: Bounds, rate: float, seed: int
    ) -> None:
        super().__init__(server, question, bounds)
        self._rate = rate
        self._random = random.Random(seed)  # noqa: S311  # arrivals, no secrets
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._connecting = 0
        self._next_due = 0.0

    async def run(self) -> Step:
        return await self._run("open", self._rate, self._begin)

    def _begin(self) -> None:
        self._next_due = time.perf_counter()
        self._arrive()

    def _idle(self) -> bool:
        return super()._idle() and not self._due and not self._connecting

    def _arrive(self) -> None:
        """All that is due by now, and an appointment for what comes next."""
        now = time.perf_counter()
        while self._next_due <= now and not self._ended_at(self._next_due):
            self._due.append(self._next_due)
            self._asked += 1
            self._next_due += self._random.expovariate(self._rate)
        self._serve()
        if not self._ended_at(self._next_due):
            asyncio.get_running_loop().call_later(self._next_due - now, self._arrive)

    def _ended_at(self, moment: float) -> bool:
        most = self._bounds.requests
        return moment >= self._deadline or (most is not None and self._asked >= most)

    def _serve(self) -> None:
        latest = time.perf_counter() - self._bounds.patience
        while self._due and self._due[0] < latest:
            self._due.popleft()
            self.tally.unsent += 1
        requests = self._question.requests
        while self._due and self._free:
            connection = self._free.popleft()
            if connection.open:
                connection.ask(requests[self._asked % len(requests)], self._due.popleft())
            else:
                self.connections.discard(connection)
        while (
            self._connecting < len(self._due)
            and len(self.connections) + self._connecting < self._bounds.connections
        ):
            self._connecting += 1
            self._start(asyncio.ensure_future(self._connect()))

    async def _connect(self) -> None:
        try:
            connection = await self._server.connect(self._answered)
        except (OSError, TimeoutError):
            if self._due:
                self.tally.add(LOST, time.perf_counter() - self._due.popleft())
            return
        finally:
            self._connecting -= 1
        self.connections.add(connection)
        self._free.append(connection)
        self._serve()

    def _answered(self, connection: Connection, status: int, seconds: float) -> None:
        self.tally.add(status, seconds)
        if connection.open:
            self._free.append(connection)
        else:
            self.connections.discard(connection)
        if self._due:
            asyncio.get_running_loop().call_soon(self._serve)
        elif self._ended:
            self._over.set()
