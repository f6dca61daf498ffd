"""One replica in a simulation: the runtime's queue, batches and refusals, with measured times.

As in `packager/runtime/scheduler.py`: a request that comes is refused at once when by what was seen
lately it cannot be answered in time, or when the queue is full; one that waits beyond its time is
refused then; whoever is done takes all that wait, up to a batch.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp
from typing import Any

from packager.domain.placement import Service
from packager.place.batch_queue import BatchQueue
from packager.place.capacity import Queue, spread_of

MOST_WAITING = 256
_SMOOTHING = 0.2

Answered = Callable[[float | None], None]
"""Called once with the seconds that a reply took at the replica, None when it was refused."""


@dataclass(frozen=True, slots=True)
class Model:
    """What all replicas of a pool have in common; `sigma` as of `capacity.spread_of`."""

    servers: int
    runs: BatchQueue
    sigma: float

    @classmethod
    def of(cls, service: Service) -> Model:
        queue = Queue.of(service)
        return cls(queue.servers, queue.runs, spread_of(service))

    def run_s(self, requests: int, idle: bool, chance: random.Random) -> float:
        """Seconds of a run of so many requests, drawn."""
        mean = self.runs.idle_ms if idle else float(self.runs.run_ms(requests))
        factor = exp(self.sigma * chance.gauss(0.0, 1.0) - self.sigma**2 / 2)
        return mean * factor / 1000


class Replica:
    """It serves from `ready_at` on; times are seconds of the SimPy environment."""

    def __init__(
        self, environment: Any, model: Model, chance: random.Random, ready_at: float
    ) -> None:
        self.ready_at = ready_at
        self.gone_until = 0.0
        self._environment, self._model, self._chance = environment, model, chance
        self._waiting: deque[tuple[float, float, Answered]] = deque()
        self._running = 0
        self._run_s = 0.0

    def up(self, now: float) -> bool:
        """Whether requests may be sent here."""
        return now >= self.ready_at and now >= self.gone_until

    def ask(self, limit_s: float, answered: Answered) -> None:
        """A request that comes now and wants its reply within `limit_s`."""
        now = self._environment.now
        if self._running < self._model.servers:
            self._run([(now, now + limit_s, answered)], idle=True)
            return
        self._give_up(now)
        if self._expected_s() > limit_s or len(self._waiting) >= MOST_WAITING:
            answered(None)
            return
        self._waiting.append((now, now + limit_s, answered))

    def _expected_s(self) -> float:
        model = self._model
        ahead = ceil(len(self._waiting) / model.runs.batch)
        return self._run_s * ((ahead + self._running) / model.servers + 1)

    def _give_up(self, now: float) -> None:
        """Those that waited too long go; the oldest waits first."""
        while self._waiting and self._waiting[0][1] <= now:
            self._waiting.popleft()[2](None)

    def _run(self, batch: list[tuple[float, float, Answered]], *, idle: bool) -> None:
        self._running += 1
        taken = self._model.run_s(len(batch), idle, self._chance)
        done = self._environment.timeout(taken)
        done.callbacks.append(lambda _: self._done(batch, taken))

    def _done(self, batch: list[tuple[float, float, Answered]], taken: float) -> None:
        now = self._environment.now
        self._running -= 1
        known = self._run_s
        self._run_s = taken if not known else known + _SMOOTHING * (taken - known)
        for came, _, answered in batch:
            answered(now - came)
        self._give_up(now)
        count = min(self._model.runs.batch, len(self._waiting))
        if count:
            self._run([self._waiting.popleft() for _ in range(count)], idle=False)
