"""Tasks on an existing Dask cluster: machines of the very hardware that a release is for.

The one home of `dask.distributed` (extra `cluster`). A task travels with its files, addressed by
content, so that what a worker has is not sent again and no folder need be shared; there it runs in
a process of its own with the same limits as here, and the files that it wrote come back. Dask's
protocol is as trusting as a shell: the scheduler must be one of your own (`tls://` is its own
matter, by Dask's configuration).
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from packager import __version__
from packager.digest import Digest
from packager.errors import InputError, UnavailableError
from packager.optimize.external_data import external_files
from packager.optimize.foreign_words import first_line
from packager.optimize.processes import Failure, Limits, Workers
from packager.optimize.reading import load_graph

GRAPHS, WRITTEN = ("source", "candidate", "rival", "model"), "target"
FILES = ("samples", "labels", "plugin")
SHARED = ("source", *FILES)
CONNECT_SECONDS, GRACE_SECONDS, COMING_BACK_SECONDS = 20, 60, 10
TRIES = 3
"""Files lie on one worker each, and are lost with it: others are sent them again."""
_ADDRESS = re.compile(r"(?:tcp|tls|ucx)://(?:\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ClusterWorkers(Workers):
    """Workers elsewhere; `client` is a distributed.Client.

    The cluster forgets what no future of ours stands for. Futures of equal content are one to it,
    so that one task's end would take the content from another that is about to use it: what many
    tasks read is held here until the end, and what is one task's own has a name of its own.
    """

    client: Any = None
    held: dict[str, Any] = field(default_factory=dict, compare=False)
    holding: Lock = field(default_factory=Lock, compare=False)

    @property
    def local(self) -> bool:
        return False

    def do(
        self,
        name: str,
        task: Mapping[str, Any],
        folder: Path,  # noqa: ARG002 - scratch space of this machine, which has no part in it
    ) -> dict[str, Any] | Failure:
        """Run one task on the cluster; the files that it writes come back to where they belong."""
        for left in reversed(range(TRIES)):
            if self.stopped.is_set():
                return Failure("was stopped")
            try:
                result, written = self._asked(name, task)
            except Exception as error:  # whatever the network or the cluster raises
                self.accident.set()
                told = first_line(f"{error!r}")
                if not self._lives():
                    raise _lost(str(self.client.scheduler.address), told) from error
                if isinstance(error, TimeoutError) or not left:
                    return Failure(f"the cluster gave no result: {told}")
                with self.holding:  # who held it may be gone
                    self.held.clear()
                continue
            if isinstance(result, Failure):
                self.accident.set()
                return result
            _unpacked(task, written)
            return dict(result)
        raise AssertionError("unreachable: the last try returns")

    def _asked(
        self, name: str, task: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | Failure, dict[str, bytes]]:
        sent, files = _packed(task)
        held = {place: self._sent(place, file) for place, file in files.items()}
        future = self.client.submit(
            run_there, name, sent, held, self.limits, __version__, pure=False, retries=1
        )
        answer: tuple[dict[str, Any] | Failure, dict[str, bytes]] = future.result(
            timeout=self.limits.seconds + GRACE_SECONDS
        )
        return answer

    def _lives(self) -> bool:
        """Whether anybody is left to ask; a worker that is being started again gets the time."""
        until = time.monotonic() + COMING_BACK_SECONDS
        while self.client.status == "running":
            with suppress(Exception):  # the scheduler may go while it is asked
                if self.client.nthreads():
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.2)
        return False

    def _sent(self, place: str, file: Path) -> Any:
        """A future that stands for the file's bytes on the cluster."""
        data = file.read_bytes()
        if place.partition("/")[0] not in SHARED:
            return self.client.scatter(data, hash=False)
        with self.holding:
            content = Digest.of(data).hex
            if content not in self.held:
                self.held[content] = self.client.scatter(data, hash=False)
            return self.held[content]


@contextmanager
def connected(scheduler: str, jobs: int) -> Iterator[ClusterWorkers]:
    """Workers of the cluster at `scheduler`, one task for each of its threads unless `jobs` says.

    Raises UnavailableError when it does not answer, has no worker, or another packager.
    """
    found = _ADDRESS.fullmatch(scheduler)
    if not found or not 0 < int(found[1]) < 1 << 16:
        raise InputError(
            "this is no address of a scheduler",
            where="--scheduler",
            expected="tcp://HOST:PORT or tls://HOST:PORT",
            got=scheduler,
            next_step="dask scheduler tells its address when it starts",
        )
    distributed = _distributed()
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise _unavailable(scheduler, first_line(str(error)), "is the scheduler up?") from error
    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise _unavailable(scheduler, "no worker", "start one: dask worker ADDRESS")
        versions = set(client.run(_version).values())
        if versions != {__version__}:
            raise _unavailable(
                scheduler,
                f"packager {', '.join(sorted(versions))} there, {__version__} here",
                "install the same version on every worker",
            )
        yield ClusterWorkers(at_once=jobs or threads, client=client)
    finally:
        with suppress(Exception):
            client.close(timeout=5)


def run_there(
    name: str, task: dict[str, Any], held: Mapping[str, bytes], limits: Limits, version: str
) -> tuple[dict[str, Any] | Failure, dict[str, bytes]]:
    """On the worker: lay the files out, run the task as at home, read what it wrote."""
    if version != __version__:
        return Failure(f"packager {__version__} there, {version} here"), {}
    with tempfile.TemporaryDirectory(prefix="packager-") as scratch:
        room = Path(scratch)
        for place, data in held.items():
            (room / place).parent.mkdir(parents=True, exist_ok=True)
            (room / place).write_bytes(data)
        keys = (*GRAPHS, *FILES, WRITTEN, "outputs")
        here = {key: str(room / value) if key in keys else value for key, value in task.items()}
        before = {file for file in room.rglob("*") if file.is_file()}
        if WRITTEN in task:
            (room / task[WRITTEN]).parent.mkdir(parents=True, exist_ok=True)
        work = room / "work"
        work.mkdir()
        result = Workers(limits=limits).do(name, here, work)
        if isinstance(result, Failure):
            return result, {}
        if "host" not in result and task["task"] in ("measure", "duel"):
            from packager.optimize.measuring import host

            result["host"] = host()
        out = room / "out"
        files = sorted(file for file in out.rglob("*") if file.is_file() and file not in before)
        return result, {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def _packed(task: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """The task with places instead of paths, and which file belongs to which place.

    Every graph gets a folder of its own, with its weights beside it; what is written goes to `out`.
    """
    sent = dict(task)
    files: dict[str, Path] = {}
    for key in GRAPHS:
        if key in task:
            graph = Path(task[key])
            names, _ = external_files(load_graph(graph), graph.parent, str(graph))
            files |= {f"{key}/{name}": graph.parent / name for name in (graph.name, *names)}
            sent[key] = f"{key}/{graph.name}"
    for key in (*FILES, "outputs"):
        if key in task:
            sent[key] = f"{key}/{Path(task[key]).name}"
            files[sent[key]] = Path(task[key])
    if WRITTEN in task:
        sent[WRITTEN] = f"out/{Path(task[WRITTEN]).name}"
    return sent, files


def _unpacked(task: Mapping[str, Any], written: Mapping[str, bytes]) -> None:
    """Write what came back beside the target; names of a cluster leave no folder."""
    if WRITTEN not in task:
        return
    folder = Path(task[WRITTEN]).parent
    for name, data in written.items():
        if Path(name).name == name:  # what lies in folders below are steps on the way
            (folder / name).write_bytes(data)


def _version() -> str:
    return __version__


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        raise InputError(
            "a Dask cluster needs the package distributed",
            where="--scheduler",
            expected="dask.distributed in this Python",
            got="none",
            next_step="pip install '.[cluster]' in packager's source",
        ) from error


def _lost(scheduler: str, got: str) -> UnavailableError:
    return UnavailableError(
        "the Dask cluster was lost in the middle of the work",
        where=scheduler,
        expected="a scheduler with at least one worker until the end",
        got=got,
        next_step="start its workers again and repeat; or go on here, without --scheduler",
    )


def _unavailable(scheduler: str, got: str, next_step: str) -> UnavailableError:
    return UnavailableError(
        "the Dask cluster cannot be used",
        where=scheduler,
        expected="a scheduler with at least one worker that has this packager",
        got=got,
        next_step=next_step,
    )
