"""Measuring commands: seconds, and the most memory that one took."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process counts the memory of whoever started it, so a small one stands in between.
_LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


@dataclass(frozen=True)
class Run:
    """Seconds by the clock, and the most resident memory in MiB."""

    seconds: float
    mebibytes: float


def run(command: Sequence[object], cwd: Path | None = None) -> Run:
    """Run a command to its end; fails with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, *words], cwd=cwd, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr.decode(errors='replace')[-2000:]}")
    seconds, kibibytes = done.stdout.split()
    return Run(float(seconds), int(kibibytes) / 1024)


def packager(*words: object) -> Run:
    """Run our own command as its own process."""
    return run([sys.executable, "-m", "packager", *words])


def best(times: int, action: Callable[[], Run], after: Callable[[], object]) -> Run:
    """The fastest of a few runs, cleaned up after each."""
    runs = []
    for _ in range(times):
        runs.append(action())
        after()
    return min(runs, key=lambda each: each.seconds)
