"""When one client asks alone, its short inferences are run where its requests are read.

To hand an inference to a thread and its answer back takes two wake-ups, 0.1 ms and more on a
virtual machine: much of what a client that waits for each answer notices. Done in the event loop it
costs nothing, as long as nobody else waits for the loop meanwhile. The loop is asked before the
answer goes out: where somebody waits, there are several, and the threads take over for long.
"""

from __future__ import annotations

from .waiting import Job

_ENOUGH = 8  # requests in a row that met nobody else
_AFTER_COMPANY = 256
_SHORT_SECONDS = 0.002
_SMOOTHING = 0.2
_ENDLESS = 1 << 62


class Solitude:
    """Of one model. All methods are the event loop's."""

    __slots__ = ("_bytes", "_missing", "_seconds")

    def __init__(self) -> None:
        self._missing = _ENOUGH
        self._bytes = -1
        self._seconds = 0.0

    def permits(self, job: Job, *, busy: bool) -> bool:
        """Whether a request that comes now is to be run at once; `busy` says that another one is
        being run or waits."""
        if busy:
            self._missing = max(self._missing, _ENOUGH)
            return False
        if self._missing:
            self._missing -= 1
            return False
        # A longer text may take longer than those before it; nobody knows before it was run.
        return self._seconds <= _SHORT_SECONDS and _size(job) <= self._bytes

    def ends(self) -> None:
        """Somebody waited while a request was run at once."""
        self._missing = _AFTER_COMPANY

    def took(self, job: Job, seconds: float) -> None:
        """A request that was run by itself, and in how long."""
        size = _size(job)
        if size == _ENDLESS:
            return
        if size > self._bytes:
            self._bytes, self._seconds = size, seconds
        else:
            self._seconds += _SMOOTHING * (seconds - self._seconds)


def _size(job: Job) -> int:
    """Bytes of the inputs; without end for texts, whose length they do not tell."""
    arrays = job.inputs.values()
    if any(array.dtype.hasobject for array in arrays):
        return _ENDLESS
    return sum(array.nbytes for array in arrays)
