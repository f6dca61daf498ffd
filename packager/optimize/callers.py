"""What putting requests together gives eight callers, each of whom waits for its answer.

Rows one after the other and rows in batches, timed by themselves, do not tell that: callers who are
not put together run side by side, a batch forms of those who wait just then, and all of it shares
the processors and the interpreter with whoever reads the requests. So the queue is played here as
the server runs it (`runtime.scheduler`): threads that take one waiting row, or all up to a batch,
in front of them a door that costs every request what reading and answering it costs. Both ways run
in turns. Runs in worker processes only.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import median_high
from typing import Any

import numpy as np

from packager.optimize.engine import open_session
from packager.optimize.record import TOGETHER_PAYS
from packager.optimize.samples import Feed
from packager.optimize.timing import Rounds, interval, stack

CALLERS = 8
ROUNDS, SECONDS = 15, 0.2
CLEAR_FROM = 6
"""Rounds from which on a loss is believed: then the largest ratio is a 95 % bound of the median. A
gain is believed after all rounds only, since it is what changes the server."""
DOOR_SECONDS = 150e-6
"""What the server takes to read and to answer a request of a few rows, on its one event loop: it
answers about 6,500 a second of a model that costs nothing (docs/runtime.md)."""


def gain_of_batches(
    model: Path, feeds: Sequence[Feed], threads: int, batch: int
) -> dict[str, float]:
    """How many times as many rows a second the callers get when up to `batch` of them are put
    together: the median over rounds, and the lower end of its 95 % interval. Where they surely gain
    too little there are no more rounds."""
    session = open_session(model, threads)
    rows = [stack(feeds[index:], 1) for index in range(min(len(feeds), CALLERS))]
    for size in (1, min(batch, CALLERS)):
        session.run(None, stack(feeds, size))
    seconds: Rounds = []
    for turn in range(ROUNDS):
        sizes = (1, batch) if turn % 2 else (batch, 1)
        rates = {size: _rate(session, rows, threads, size) for size in sizes}
        seconds.append((1 / rates[1], 1 / rates[batch]))
        if len(seconds) >= CLEAR_FROM and interval(seconds)[1] < TOGETHER_PAYS:
            break
    gain = median_high(alone / together for alone, together in seconds)
    return {"gain": round(gain, 2), "least": round(interval(seconds)[0], 2)}


def _rate(session: Any, rows: Sequence[Feed], threads: int, most: int) -> float:
    """Rows a second with up to `most` put together."""
    queue = _Queue(CALLERS, most)
    instances = max(1, len(os.sched_getaffinity(0)) // threads)

    def serve() -> None:
        try:
            while taken := queue.take():
                given = [rows[caller % len(rows)] for caller in taken]
                feed = given[0] if len(given) == 1 else _together(given)
                for value in session.run(None, feed):
                    np.split(value, len(given))
                queue.give_back(taken)
        except Exception as error:  # the engine's exceptions have no common base but this
            queue.fail(error)

    workers = [threading.Thread(target=serve) for _ in range(instances)]
    started = time.monotonic()
    for worker in workers:
        worker.start()
    queue.door(started + SECONDS)
    for worker in workers:
        worker.join()
    if queue.fault:
        raise queue.fault
    return queue.answered / (time.monotonic() - started)


def _together(feeds: Sequence[Feed]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


class _Queue:
    """Callers who wait, and those whose answer is on its way to them."""

    def __init__(self, callers: int, most: int) -> None:
        self.most, self.answered = most, 0
        self.fault: Exception | None = None
        self._waiting: deque[int] = deque()
        self._done: deque[int] = deque(range(callers))
        self._changed = threading.Condition()
        self._over = False

    def take(self) -> list[int]:
        """As many as may be put together of those who wait; none when it is over."""
        with self._changed:
            while not self._waiting and not self._over:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(self.most, len(self._waiting)))]

    def give_back(self, callers: Sequence[int]) -> None:
        with self._changed:
            self.answered += len(callers)
            self._done.extend(callers)
            self._changed.notify_all()

    def fail(self, fault: Exception) -> None:
        with self._changed:
            self.fault = fault
            self._changed.notify_all()

    def door(self, until: float) -> None:
        """Answer who is done and read its next request, one after the other, until it is time and
        everybody was answered more than once."""
        while (time.monotonic() < until or self.answered < 2 * CALLERS) and not self.fault:
            with self._changed:
                if not self._done:
                    self._changed.wait(0.01)
                    continue
                caller = self._done.popleft()
            busy_until = time.perf_counter() + DOOR_SECONDS
            while time.perf_counter() < busy_until:
                continue
            with self._changed:
                self._waiting.append(caller)
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()
