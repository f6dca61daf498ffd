"""SIGKILL to a command and all its processes, at a moment of its own story and not of the clock.

What a command tells, line by line, says where it is. A moment is a step of that story and a share
of the time that the step took when it was last seen: on a machine that has become ten times slower,
the same moment is met. Should the next line come before the share is over, the kill comes with it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

BEGAN = "began"
SECONDS = 1.0  # what a step is thought to take before it was ever seen
LONGEST = 900.0


@dataclass(frozen=True)
class Struck:
    """What came of one moment: whether the command was still at work, and how it ended if not."""

    step: str
    share: float
    hit: bool
    seconds: float
    code: int
    told: str


@dataclass
class Story:
    """The steps of a kind of command, and the seconds that each took when it was last seen."""

    steps: dict[str, float] = field(default_factory=lambda: {BEGAN: SECONDS})

    def draw(self, chance: random.Random) -> tuple[str, float]:
        """A step, each as likely as the other, and a share of its time."""
        return chance.choice(sorted(self.steps)), chance.random()

    def seen(self, step: str, seconds: float) -> None:
        self.steps[step] = seconds


def step_of(line: str) -> str:
    """`• load registry/… into docker` → `load`; other lines are part of the step before."""
    return line.split()[1] if line.startswith("• ") else ""


def strike(
    command: list[str], environment: dict[str, str], story: Story, at: tuple[str, float]
) -> Struck:
    """Start it and SIGKILL all of it at `at`, a step and a share; to its end if that never comes.

    The story learns how long each step took that was seen from line to line.
    """
    wanted, share = at
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, errors="replace", process_group=0,
    )  # fmt: skip
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    began = since = time.monotonic()
    step, told, hit = BEGAN, "", False
    strike_at = since + share * story.steps[BEGAN] if wanted == BEGAN else None
    while process.poll() is None or not lines.empty():
        now = time.monotonic()
        assert now - began < LONGEST, f"{step} took too long: {told}"
        if strike_at is not None and now >= strike_at:
            hit = process.poll() is None
            break
        left = 0.1 if strike_at is None else min(0.1, strike_at - now)
        try:
            line = lines.get(timeout=max(left, 0.001))
        except queue.Empty:
            continue
        told = (told + line)[-2000:]
        if not (named := step_of(line)):
            continue
        story.seen(step, time.monotonic() - since)
        if strike_at is not None:
            hit = process.poll() is None
            break
        step, since = named, time.monotonic()
        story.steps.setdefault(step, SECONDS)
        if step == wanted:
            strike_at = since + share * story.steps[step]
    else:
        story.seen(step, time.monotonic() - since)
    for group in [*_children(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    process.wait()
    return Struck(step, round(share, 3), hit, time.monotonic() - began, process.returncode, told)


def _children(pid: int) -> list[int]:
    """`packager install` gives the installer a session of its own, which ends with it here."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _read(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    """Until nobody holds the other end: a container's monitor may outlive the command."""
    assert process.stdout
    with process.stdout as stream, contextlib.suppress(ValueError):
        for line in stream:
            lines.put(line)
