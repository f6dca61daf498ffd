"""Workers that are forked from a warm process (`zygote`) instead of started from nothing.

Importing numpy, onnx and the engine takes a third of a second of processor time, and an optimizer's
run has dozens of tasks. Each is a process of its own all the same, with its own limits and group.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from threading import Event, Lock, Thread
from typing import Protocol

ZYGOTE = (sys.executable, "-P", "-m", "packager.optimize.zygote")
WARM_WITHIN = 60.0
"""Seconds for its imports; on a machine slower than that workers start from nothing."""


GRACE = 10.0
"""Seconds for the kernel to take a killed worker's memory back."""


class Running(Protocol):
    """A worker that was started."""

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal. Raises subprocess.TimeoutExpired."""

    def kill(self) -> None:
        """End it and what it started; nothing happens when it ended already."""


@dataclass(slots=True, eq=False)
class _Child:
    """A forked worker: the zygote alone waits for it and ends it, so no number is mistaken."""

    number: int
    nursery: Nursery
    ended: Event = field(default_factory=Event)
    code: int = -SIGKILL

    def wait(self, seconds: float) -> int:
        if not self.ended.wait(seconds):
            raise subprocess.TimeoutExpired(ZYGOTE, seconds)
        return self.code

    def kill(self) -> None:
        if not self.ended.is_set():
            self.nursery.ask({"end": self.number})
            self.ended.wait(GRACE)


class Nursery:
    """A zygote and its children, seen from the parent. Its calls may come from several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._children: dict[int, _Child] = {}
        self._lock, self._count = Lock(), 0
        self._ready, self._warm = Event(), False
        self._process = subprocess.Popen(
            ZYGOTE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
        self._listener = Thread(target=self._listen, name="zygote", daemon=True)
        self._listener.start()

    def start(self, task: Path, result: Path, complaint: Path) -> Running | None:
        """A worker for one task; None when it must be started from nothing."""
        self._ready.wait(WARM_WITHIN)
        with self._lock:
            if not self._warm:
                return None
            self._count += 1
            child = self._children[self._count] = _Child(self._count, self)
        self.ask(
            {
                "id": child.number,
                "task": str(task),
                "result": str(result),
                "stderr": str(complaint),
            }
        )
        return child

    def ask(self, request: Mapping[str, object]) -> None:
        """Say something to the zygote; when it is gone, its children are as well."""
        pipe = self._process.stdin
        line = json.dumps(request).encode() + b"\n"
        with suppress(OSError, ValueError), self._lock:
            if pipe:
                pipe.write(line)
                pipe.flush()

    def close(self) -> None:
        """End the zygote and every worker of it."""
        with suppress(OSError), self._lock:
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()

    def _listen(self) -> None:
        if self._process.stdout is None:
            return
        with self._process.stdout as answers:
            for line in answers:
                told = json.loads(line)
                if "threads" in told:
                    self._warm = told["threads"] == 1
                    self._ready.set()
                elif child := self._children.pop(told["id"], None):
                    child.code = told["code"]
                    child.ended.set()
        with self._lock:
            self._warm = False
            left, self._children = list(self._children.values()), {}
        self._ready.set()
        for child in left:  # they ended with the zygote
            child.ended.set()
