"""The queue of a model: who is next, with whom together, and who has to go when it is full.

Levels come in order of priority. Within a level the clients take turns, so that one who asks a
thousand times delays nobody else by a thousand; when the queue is full, the client with the most
waiting gives up its newest request for a newcomer with fewer (longest queue drop: McKenney,
"Stochastic Fairness Queueing", 1990). Only requests whose tensors agree in everything but their
rows go together, and a request is never split between two batches. No clock and no thread in here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .batching_settings import Batching
from .datatypes import Array
from .errors import RequestError

ShapeKey = tuple[Any, ...]
Result = Mapping[str, Array] | RequestError
_UNREAD: Mapping[str, Array] = {}


class Job:
    """One request in the queue: `rows` along the first dimension, wanted outputs, and to whom the
    result goes. Times are `time.monotonic()` seconds; `deadline` is None without a timeout, and
    `gone` is when whoever asks has left by own account (the deadline of a gRPC call)."""

    __slots__ = (
        "arrived", "client", "deadline", "deliver", "done", "gone", "inputs", "key", "level",
        "outputs", "rows", "taken", "timer",
    )  # fmt: skip

    def __init__(
        self,
        inputs: Mapping[str, Array],
        outputs: tuple[str, ...],
        deliver: Callable[[Result], None],
        *,
        rows: int = 1,
        key: ShapeKey = (),
        client: str = "",
        level: int = 1,
        deadline: float | None = None,
        gone: float | None = None,
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.deliver = deliver
        self.rows = rows
        self.key = key
        self.client = client
        self.level = level
        self.deadline = deadline
        self.gone = gone
        self.arrived = self.taken = 0.0
        self.done = False
        self.timer: Any = None

    def finish(self, result: Result) -> None:
        """Hand over the result, once."""
        if not self.done:
            self.done = True
            self.inputs = _UNREAD
            if self.timer is not None:
                self.timer.cancel()
            self.deliver(result)


class _Level:
    """The requests of one priority, by client; the first client is the next one to be served."""

    def __init__(self) -> None:
        self.clients: OrderedDict[str, deque[Job]] = OrderedDict()
        self.count = 0

    def push(self, job: Job) -> None:
        jobs = self.clients.get(job.client)
        if jobs is None:
            jobs = self.clients[job.client] = deque()
        jobs.append(job)
        self.count += 1

    def pop(self, client: str) -> Job:
        """The oldest of a client, which then goes to the end of the line."""
        jobs = self.clients[client]
        job = jobs.popleft()
        self.count -= 1
        if jobs:
            self.clients.move_to_end(client)
        else:
            del self.clients[client]
        return job

    def remove(self, job: Job) -> bool:
        jobs = self.clients.get(job.client)
        if jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        self.count -= 1
        if not jobs:
            del self.clients[job.client]
        return True

    def clear(self) -> None:
        self.clients.clear()
        self.count = 0

    def heads(self) -> Iterator[Job]:
        return (jobs[0] for jobs in self.clients.values())


class Waiting:
    """All that waits for one model; `rows` and `count` are sums over all levels."""

    def __init__(self, settings: Batching) -> None:
        self._settings = settings
        self._most_rows = settings.max_batch_size
        self._delay = settings.max_queue_delay_microseconds / 1e6
        # One more than there are priorities: those that timed out and may go last.
        self._levels = [_Level() for _ in range(settings.priority_levels + 1)]
        self.count = 0
        self.rows = 0

    def push(self, job: Job) -> Job | None:
        """Take a request in; returns the one that had to go for it, which may be itself."""
        level = self._levels[job.level - 1]
        victim = None
        if level.count >= self._settings.policy_of(job.level).max_queue_size:
            longest = max(level.clients.values(), key=len)
            own = len(level.clients.get(job.client, ()))
            if len(longest) <= own + 1:
                return job
            victim = longest[-1]
            self.remove(victim)
        level.push(job)
        self.count += 1
        self.rows += job.rows
        return victim

    def remove(self, job: Job) -> bool:
        """Take a request out; False when it is not waiting (any more)."""
        if any(level.remove(job) for level in self._levels):
            self.count -= 1
            self.rows -= job.rows
            return True
        return False

    def put_last(self, job: Job) -> bool:
        """Behind all that has not timed out; False when it is not waiting (any more)."""
        if not self.remove(job):
            return False
        self._levels[-1].push(job)
        self.count += 1
        self.rows += job.rows
        return True

    def take(self, now: float) -> list[Job]:
        """The next batch: empty when there is nothing, or when it is worth waiting for more."""
        if not self.count or self.patience(now) > 0:
            return []
        batch: list[Job] = []
        rows, limit = 0, self._limit()
        for level in self._levels:
            passed_over = 0
            if not batch and len(level.clients) == 1 and self._all_together(level, limit):
                ((_, jobs),) = level.clients.items()
                batch, rows = list(jobs), self.rows
                level.clear()
            while level.clients and passed_over < len(level.clients) and rows < limit:
                client, jobs = next(iter(level.clients.items()))
                head = jobs[0]
                if batch and (head.key != batch[0].key or rows + head.rows > limit):
                    level.clients.move_to_end(client)
                    passed_over += 1
                    continue
                batch.append(level.pop(client))
                rows += head.rows
                passed_over = 0
            if rows >= limit:
                break
        self.count -= len(batch)
        self.rows -= rows
        return batch

    def _all_together(self, level: _Level, limit: int) -> bool:
        """Whether all that waits is one client's, of one shape, and fits into one batch."""
        if level.count != self.count or self.rows > limit:
            return False
        ((_, jobs),) = level.clients.items()
        key = jobs[0].key
        return all(job.key == key for job in jobs)

    def patience(self, now: float) -> float:
        """Seconds for which it is worth waiting for more requests; 0 when it is not."""
        if not self._delay or not self.count or self.rows >= self._most_rows:
            return 0.0
        if any(size <= self.rows for size in self._settings.preferred_batch_size):
            return 0.0
        oldest = min(job.arrived for level in self._levels for job in level.heads())
        return max(0.0, oldest + self._delay - now)

    def _limit(self) -> int:
        """The most rows of the next batch. Without batching every request goes alone."""
        if not self._most_rows:
            return 1
        formed = [size for size in self._settings.preferred_batch_size if size <= self.rows]
        return formed[-1] if formed else self._most_rows
