"""Runs a model's requests: in place, alone, or put together into batches, on its own threads.

The event loop pushes, the threads take; a thread that has finished takes its next batch itself, so
that no time passes between two batches. How a batch is run stands in `batch_runs`.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .batch_runs import BatchRuns, Results, Runs, split
from .batching_settings import Batching, TimeoutAction
from .bell import Bell
from .errors import RequestError
from .event_loop import EventLoop
from .lifecycle import unavailable
from .solitude import Solitude
from .statistics import Statistics
from .waiting import Job, Result, Waiting

if TYPE_CHECKING:
    from .session import Session

_SMOOTHING = 0.2
_MOST_RETRY_SECONDS = 30
_BROKEN = 3
_CPU = "CPUExecutionProvider"


class _Ended(NamedTuple):
    """A batch that has been run, and the seconds that all of it took. `results` has one for each
    job, or the rows of all of them together: to take those apart is the event loop's work, because
    between two batches the thread has no time for it."""

    batch: list[Job]
    results: Results
    runs: Runs
    seconds: float


class Scheduler:
    """The queue and the threads of one model. All public methods are the event loop's."""

    def __init__(self, session: Session, settings: Batching, threads: int) -> None:
        self.settings = settings
        self.statistics = Statistics()
        self.instances = threads
        self.running = 0
        self._waiting = Waiting(settings)
        self._solitude = Solitude()
        self._runs = BatchRuns(session, settings, self._tell)
        self._changed = threading.Condition()
        self._idle = 0
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_awaited: Callable[[], bool] | None = None
        self._bell: Bell | None = None
        self._ended: deque[_Ended] = deque()
        self._threads: list[threading.Thread] = []
        self._batch_seconds = 0.0
        self._in_work: dict[int, tuple[float, list[Job]]] = {}
        self.stuck = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; they deliver into `loop`."""
        self._loop = loop
        if isinstance(loop, EventLoop):
            self._is_awaited = loop.is_awaited
        self._bell = Bell(loop, self._deliver_ended)
        name = f"inference-{self.session.settings.name}"
        for _ in range(self.instances):
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads after what they have in hand."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    @property
    def session(self) -> Session:
        return self._runs.session

    @property
    def failing(self) -> bool:
        """Whether the session seems to be broken: it failed three times in a row, or hangs."""
        return self.stuck or self.statistics.failures_in_a_row >= _BROKEN

    def replace(self, session: Session) -> None:
        """Go on with another session."""
        self._runs.session = session
        self.statistics.failures_in_a_row = 0

    def give_up_after(self, seconds: float) -> None:
        """Answer what has been in work for longer than this. Its thread is lost with it."""
        latest = time.monotonic() - seconds
        with self._changed:
            overdue = [batch for began, batch in self._in_work.values() if began < latest]
        for batch in overdue:
            self.stuck = True
            for job in batch:
                job.finish(RequestError(504, "the inference did not end in time", close=True))

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return self._waiting.count

    @property
    def queued_rows(self) -> int:
        return self._waiting.rows

    def submit(self, job: Job) -> None:
        """Take a request; its result comes through `job.deliver`, perhaps before this returns.

        Raises RequestError when it cannot be taken: 429 or 503, and 504 for a caller that would not
        be there any more.
        """
        now = time.monotonic()
        job.arrived = now
        self._set_deadline(job, now)
        if job.deadline is not None and now + self.expected_wait() > job.deadline:
            self.statistics.refused("deadline")
            raise self._too_late(job, "the deadline of the request cannot be met")
        if job.rows <= self.settings.inline_rows and not self._waiting.count and not self.running:
            self._run_in_place(job)
            return
        busy = bool(self._waiting.count or self.running)
        if self._solitude.permits(job, busy=busy) and self._fits_alone(job):
            self._run_in_place(job, alone=True)
            return
        with self._changed:
            victim = self._waiting.push(job)
            if victim is not job and self._idle:
                self._changed.notify()
        if victim is job:
            self.statistics.refused("full")
            raise self._busy(f"the queue is full: {self._waiting.count} requests wait")
        if victim is not None:
            self.statistics.refused("fairness")
            victim.finish(self._busy("the queue is full, and most of it is yours", status=429))
        if job.deadline is not None and self._loop is not None:
            job.timer = self._loop.call_later(job.deadline - now, self._timed_out, job)

    def cancel(self, job: Job) -> None:
        """The client has left: what was not begun is not begun any more."""
        job.done = True
        with self._changed:
            self._waiting.remove(job)

    def expected_wait(self) -> float:
        """Seconds until a request that comes now has its answer, by what was seen lately."""
        per_batch = max(1, self.settings.max_batch_size)
        ahead = math.ceil(self._waiting.rows / per_batch) if self._waiting.count else 0
        rounds = (ahead + self.running) / self.instances + 1
        return self._batch_seconds * rounds

    def _busy(self, why: str, status: int = 503) -> RequestError:
        seconds = min(_MOST_RETRY_SECONDS, max(1, math.ceil(self.expected_wait())))
        return unavailable(why, status=status, seconds=seconds)

    def _too_late(self, job: Job, why: str) -> RequestError:
        """What to say when time is over: that of the queue's policy is worth another try (Triton
        says UNAVAILABLE), the caller's own is not (gRPC's DEADLINE_EXCEEDED)."""
        return self._busy(why) if job.deadline != job.gone else RequestError(504, why)

    def _set_deadline(self, job: Job, now: float) -> None:
        policy = self.settings.policy_of(job.level)
        if policy.default_timeout_microseconds:
            latest = now + policy.default_timeout_microseconds / 1e6
            asked = job.deadline if policy.allow_timeout_override else None
            job.deadline = latest if asked is None else min(asked, latest)
        elif not policy.allow_timeout_override:
            job.deadline = None
        if job.gone is not None and (job.deadline is None or job.gone < job.deadline):
            job.deadline = job.gone

    def _timed_out(self, job: Job) -> None:
        policy = self.settings.policy_of(job.level)
        with self._changed:
            if policy.timeout_action is TimeoutAction.DELAY and job.deadline != job.gone:
                self._waiting.put_last(job)
                return
            waited = self._waiting.remove(job)
        if waited:
            self.statistics.refused("timeout")
            job.finish(self._too_late(job, "the request waited longer than it may"))

    def _fits_alone(self, job: Job) -> bool:
        """Whether it may be run in the event loop: in one run, on the CPU, which hangs nobody, and
        where no release asks for waiting."""
        most = self.settings.max_batch_size
        return (
            self._is_awaited is not None
            and self.session.execution_provider == _CPU
            and not self.settings.max_queue_delay_microseconds
            and (not most or job.rows <= most)
        )

    def _run_in_place(self, job: Job, *, alone: bool = False) -> None:
        began = time.perf_counter()
        result: Result
        try:
            result = self._runs.infer(job.inputs, job.outputs, job.rows)
        except RequestError as error:
            result = error
        taken = time.perf_counter() - began
        statistics = self.statistics
        statistics.executed(1, job.rows, taken)
        statistics.queue.add(0.0)
        self._solitude.took(job, taken)
        if alone and self._is_awaited is not None and self._is_awaited():
            self._solitude.ends()
        self._note(result)
        job.finish(result)

    # The threads' side

    def _serve(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                return
            began = time.perf_counter()
            results: Results
            try:
                results, runs = self._runs.batch(batch)
            except BaseException as error:  # a thread that dies would leave its requests hanging
                fault = RequestError(500, f"inference failed: {type(error).__name__}")
                results, runs = [fault] * len(batch), []
            with self._changed:
                self._in_work.pop(threading.get_ident(), None)
            self._ended.append(_Ended(batch, results, runs, time.perf_counter() - began))

    def _tell(self) -> None:
        """Let the event loop see to what has ended. That is done when the next batch is ready to
        run: a loop that is awake would take the interpreter while it is put together."""
        if self._ended and self._bell is not None:
            self._bell.ring()

    def _next(self) -> list[Job] | None:
        with self._changed:
            while True:
                now = time.monotonic()
                batch = self._waiting.take(now)
                if batch:
                    self.running += 1
                    for job in batch:
                        job.taken = now
                    self._in_work[threading.get_ident()] = (now, batch)
                    if self._waiting.count and self._idle:
                        self._changed.notify()
                    return batch
                self._tell()
                if self._stopping:
                    return None
                self._idle += 1
                self._changed.wait(self._waiting.patience(now) or None)
                self._idle -= 1

    # Back in the event loop

    def _deliver_ended(self) -> None:
        """One batch a turn of the loop, so that requests which came meanwhile are read as well."""
        if not self._ended:
            return
        try:
            self._deliver(self._ended.popleft())
        finally:
            if self._ended and self._loop is not None:
                self._loop.call_soon(self._deliver_ended)

    def _deliver(self, ended: _Ended) -> None:
        batch, found, runs, seconds = ended
        results = found if isinstance(found, list) else split(batch, found)
        with self._changed:
            self.running -= 1
        known = self._batch_seconds
        self._batch_seconds = seconds if not known else known + _SMOOTHING * (seconds - known)
        statistics = self.statistics
        for jobs, rows, taken in runs:
            statistics.executed(jobs, rows, taken)
        if len(batch) == 1 and runs:
            self._solitude.took(batch[0], runs[0][2])
        fault: Exception | None = None
        for job, result in zip(batch, results, strict=True):
            waited = job.taken - job.arrived
            statistics.queue.add(waited)
            statistics.queue_seconds.add(waited)
            self._note(result)
            try:
                job.finish(result)
            except Exception as error:  # the others get theirs all the same
                fault = error
        if fault is not None:
            raise fault

    def _note(self, result: Result) -> None:
        if isinstance(result, RequestError):
            if result.status >= 500:
                self.statistics.failures_in_a_row += 1
        else:
            self.statistics.failures_in_a_row = 0
