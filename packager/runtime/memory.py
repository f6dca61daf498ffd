"""Memory: a request that needs more than there is fails alone, and what a large one took goes back.

Whoever chooses the shape of a tensor chooses how much memory an inference takes. Beyond what the
container may have, the kernel kills the process, and with it everybody's requests; so the process
is bounded a little below (setrlimit(2), RLIMIT_DATA), where an allocation fails and is told to the
one who asked. And ONNX Runtime's arena keeps what its largest inference took, unless it is told to
give it back after a run (onnxruntime_run_options_config_keys.h, `kOrtRunOptionsConfigEnable-
MemoryArenaShrinkage`).
"""

from __future__ import annotations

import resource
from collections.abc import Iterable

# Version 2 of control groups, then 1; in a container either is the container's own.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MIB = 1 << 20
# Of what is left when everything is loaded; the rest is for pages that are no data of ours.
_USABLE = 0.9
_MOST_FREELY = 256 * _MIB
_MOST_PATIENCE = 64


def allowed() -> int | None:
    """The bytes that this process may have: of its container, or all of the machine's."""
    found = [limit for path in _LIMITS if (limit := _number(path)) is not None]
    machine = _kilobytes("/proc/meminfo", "MemTotal:")
    return min([*found, *([machine] if machine else [])], default=None)


def bound(limit: int | None) -> int | None:
    """From now on this process grows up to `limit` bytes at most; how much that is, in bytes."""
    resident, data = _own("VmRSS:"), _own("VmData:")
    if limit is None or not resident or not data or limit <= resident:
        return None
    growth = int((limit - resident) * _USABLE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = data + growth
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    return growth


def unbound() -> None:
    """A child does not keep what its parent was bounded to: its weights and caches are its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


class Growth:
    """Says when it is time to give memory back. Asked once a second.

    Whose usual load needs the memory would lose it again and again: each time that it comes back
    at once, the next look is twice as long away.
    """

    def __init__(self, room: int | None, resident: int | None = None) -> None:
        self._usual = resident or _own("VmRSS:") or 0
        self._freely = _MOST_FREELY if room is None else min(room // 4, _MOST_FREELY)
        self._patience = 1
        self._wait = 0

    def too_much(self, resident: int | None = None) -> bool:
        """Whether this process holds much more than after its start, and it is worth a try."""
        if self._wait > 0:
            self._wait -= 1
            return False
        if (resident or _own("VmRSS:") or 0) - self._usual <= self._freely:
            self._patience = 1
            return False
        self._wait = self._patience
        self._patience = min(2 * self._patience, _MOST_PATIENCE)
        return True


def failed_for_want_of_it(error: BaseException) -> bool:
    """Whether an allocation failed, Python's or ONNX Runtime's."""
    text = str(error)
    told = ("Failed to allocate memory", "bad_alloc", "Unable to allocate")
    return isinstance(error, MemoryError) or any(words in text for words in told)


def _own(key: str) -> int | None:
    return _kilobytes("/proc/self/status", key)


def _kilobytes(path: str, key: str) -> int | None:
    for line in _lines(path):
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return None


def _number(path: str) -> int | None:
    for line in _lines(path):
        return int(line) if line.strip().isdecimal() else None
    return None


def _lines(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.readlines()
    except (OSError, UnicodeDecodeError):
        return ()
