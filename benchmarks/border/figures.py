"""Measuring commands: seconds, and the most memory that one took; figures beside their bounds."""

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


@dataclass(frozen=True)
class Figure:
    """A value beside its bound; without one it is there to be compared, and cannot fail.

    `at_most` says on which side of the bound it must lie, `told` what else was seen.
    """

    what: str
    value: float
    bound: float | None = None
    at_most: bool = True
    told: str = ""

    @property
    def verdict(self) -> str:
        """`holds`, `FAILS`, or `beside` for what has no bound."""
        if self.bound is None:
            return "beside"
        fits = self.value <= self.bound if self.at_most else self.value >= self.bound
        return "holds" if fits else "FAILS"

    def __str__(self) -> str:
        sign = "" if self.bound is None else f" {'≤' if self.at_most else '≥'} {self.bound:g}"
        more = f"  ({self.told})" if self.told else ""
        return f"{self.verdict:6}  {self.what}: {self.value:.3f}{sign}{more}"

    def as_dict(self) -> dict[str, object]:
        """For the file of results."""
        return {
            "what": self.what,
            "value": round(self.value, 4),
            "bound": self.bound,
            "verdict": self.verdict,
            "told": self.told,
        }


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
