"""Starts a worker process for one task, and turns every way in which it can end into a value.

The parent never imports the engine. Whatever a candidate does (crash, hang, eat memory, write
rubbish) comes back as a `Failure` with a reason in words.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

import packager
from packager.optimize.engine import TELEMETRY_SWITCH
from packager.optimize.foreign_words import first_line
from packager.optimize.forking import Nursery, Running

WORKER = (sys.executable, "-P", "-m", "packager.optimize.worker")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may take: wall-clock seconds and bytes of address space."""

    seconds: int = 600
    memory_bytes: int = 8 << 30

    def for_model(self, size: int) -> Limits:
        """Room for a model of `size` bytes: float copies, the graph twice, the engine itself."""
        return Limits(self.seconds, max(self.memory_bytes, 12 * size + (4 << 30)))


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that gave no result, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Workers:
    """How workers are started, `at_once` of them. Tests put another command here."""

    command: tuple[str, ...] = WORKER
    limits: Limits = Limits()
    at_once: int = 2
    running: set[Running] = field(default_factory=set, compare=False)
    stopped: Event = field(default_factory=Event, compare=False)
    accident: Event = field(default_factory=Event, compare=False)
    """Set when a task did not end by itself, which the machine rather than the model may have
    caused: what such a run says is true of this run only."""
    nursery: Nursery | None = field(default=None, compare=False)
    """Where workers are forked; without one each is started from nothing."""

    @property
    def local(self) -> bool:
        """Whether they see the files of this machine."""
        return True

    def within(self, limits: Limits) -> Workers:
        """The same workers under other limits; `stop` stops both."""
        return replace(self, limits=limits)

    def stop(self) -> None:
        """End every running task at once, and start no other: the user pressed Ctrl-C."""
        self.stopped.set()
        for process in tuple(self.running):
            process.kill()

    def do(self, name: str, task: Mapping[str, Any], folder: Path) -> dict[str, Any] | Failure:
        """Run one task in a process of its own; `folder` is scratch space for its two files."""
        task_file, result_file = folder / f"{name}.task.json", folder / f"{name}.result.json"
        bounded = {"seconds": self.limits.seconds, "memory_bytes": self.limits.memory_bytes}
        task_file.write_text(json.dumps({**bounded, **task}))
        complaint = folder / f"{name}.stderr"
        result_file.unlink(missing_ok=True)  # of an earlier part: nobody may take it for this one's
        if self.stopped.is_set():
            return Failure("was stopped")
        process = self._started(task_file, result_file, complaint)
        self.running.add(process)
        try:
            code = process.wait(self.limits.seconds)
        except subprocess.TimeoutExpired:
            self.accident.set()
            return Failure(f"did not finish within {self.limits.seconds} s")
        finally:
            process.kill()
            self.running.discard(process)
        if code != 0:
            self.accident.set()
            return Failure(_ending(code, complaint))
        result = _result(result_file)
        if isinstance(
            result, Failure
        ):  # libraries tell where a file lay, which is no two times alike
            return Failure(result.reason.replace(f"{folder}/", ""))
        return result

    def _started(self, task: Path, result: Path, complaint: Path) -> Running:
        ours = self.nursery if self.command == WORKER else None
        forked = ours.start(task, result, complaint) if ours else None
        return forked or _Alone([*self.command, str(task), str(result)], complaint)


@contextmanager
def warmed(workers: Workers) -> Iterator[Workers]:
    """The same workers, forked from a process that has imported what they need, while inside.

    Only our own worker and only on Linux: elsewhere a fork of a process with those libraries loaded
    is not safe, and they are started from nothing; a cluster has its own ways.
    """
    ours = type(workers) is Workers and workers.command == WORKER
    if not ours or sys.platform != "linux" or workers.nursery:
        yield workers
        return
    nursery = Nursery(_environment())
    try:
        yield replace(workers, nursery=nursery)
    finally:
        nursery.close()


class _Alone:
    """A worker that was started from nothing."""

    def __init__(self, command: list[str], complaint: Path) -> None:
        with complaint.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(),
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int:
        return self._process.wait(timeout=seconds)

    def kill(self) -> None:
        """Nothing of the worker outlives the task, whether it ended, hung or was interrupted."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _environment() -> dict[str, str]:
    """Telemetry off and hash order fixed before the first import; our package found as it is."""
    package_root = str(Path(packager.__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        TELEMETRY_SWITCH: "1",
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",  # two tasks share the processors; and numpy's pool is a thread
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{package_root}{os.pathsep}{inherited}" if inherited else package_root,
    }


def _ending(code: int, complaint: Path) -> str:
    said = complaint.read_bytes()[-4096:].decode(errors="replace")
    if code < 0:
        # a library that gets no memory throws where nobody catches, and takes its process along
        why = ": the memory did not suffice" if "bad_alloc" in said else ""
        try:
            return f"its process was ended by {signal.Signals(-code).name}{why}"
        except ValueError:
            return f"its process was ended by signal {-code}{why}"
    lines = said.strip().splitlines()
    return f"its process ended with exit code {code}: {first_line(lines[-1] if lines else '')}"


def _result(file: Path) -> dict[str, Any] | Failure:
    try:
        result = json.loads(file.read_bytes())
        ok = result["ok"]
        return result if ok is True else Failure(str(result["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Failure("its process ended without a readable result")
