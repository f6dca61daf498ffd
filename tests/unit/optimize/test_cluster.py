"""A real Dask cluster of a scheduler and two workers gives what this machine gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from packager.errors import InputError, UnavailableError
from packager.optimize import cluster as cluster_module
from packager.optimize.cluster import ClusterWorkers, connected
from packager.optimize.effort import Effort, workers_for

Saver = Callable[..., Path]


def _started(stack: ExitStack, folder: Path, name: str, *arguments: str) -> subprocess.Popen:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler with two workers of one thread each, all on the loopback."""
    pytest.importorskip("distributed")
    address = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        common = ("--scheduler-file", str(address))
        _started(
            stack,
            tmp_path,
            "scheduler",
            "distributed.cli.dask_scheduler",
            *common,
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        )
        for name in ("a", "b"):
            _started(
                stack,
                tmp_path,
                f"worker-{name}",
                "distributed.cli.dask_worker",
                *common,
                *("--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"),
                *("--local-directory", str(tmp_path / name)),
            )
        waiting = (
            "import sys, distributed as d;"
            "c = d.Client(scheduler_file=sys.argv[1], timeout=60);"
            "c.wait_for_workers(2, timeout=60); print(c.scheduler.address)"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", waiting, str(address)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        yield done.stdout.strip()


def _optimized(folder: Path, name: str, *options: str) -> tuple[dict, dict[str, bytes]]:
    """The quality record and the files of `packager optimize`, with a cache of its own."""
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "packager", "optimize", "model.onnx"),
            *("-j", "de", "-w", "intel-xeon-amx", "-p", "compose", "--samples", "model.npz"),
            *(
                "--region",
                "site/here",
                "--objective",
                "size",
                "--precision",
                "fp16",
                "-o",
                name,
                "--json",
                *options,
            ),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PACKAGER_CACHE": str(folder / f"cache-{name}")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    root = folder / name
    files = {
        file.relative_to(root).as_posix(): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file()
    }
    return json.loads(done.stdout), files


def test_the_same_results_on_a_cluster(
    mlp: onnx.ModelProto, saved: Saver, scheduler: str, tmp_path: Path
) -> None:
    path = saved(mlp, save_as_external_data=True, location="model.data", size_threshold=0)
    x = np.random.RandomState(2).standard_normal((700, 16)).astype(np.float32)
    np.savez(path.with_suffix(".npz"), x=x)
    there, on_cluster = _optimized(tmp_path, "there", "--scheduler", scheduler)
    here, at_home = _optimized(tmp_path, "here", "--jobs", "1")
    assert json.dumps(there, indent=1) == json.dumps(here, indent=1)
    assert on_cluster == at_home
    (record,) = here.values()
    assert record["chosen"] != "source"
    logs = [(tmp_path / f"worker-{name}.log").read_text() for name in ("a", "b")]
    assert all("Traceback" not in log for log in logs)


def test_no_cluster_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            "from packager.optimize.effort import *\n"
            "import packager.optimize.cluster as c; c.CONNECT_SECONDS = 1\n"
            "from packager.errors import UnavailableError\n"
            "try:\n"
            "    with workers_for(Effort(0, 'tcp://127.0.0.1:9')): pass\n"
            "except UnavailableError as error: print(error.findings[0].where)",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "tcp://127.0.0.1:9", done.stderr


@pytest.mark.parametrize("address", ["http://x", "x", "tcp://x", "tcp://x:0", "tcp://x:99999", ""])
def test_what_is_no_address_is_told_at_once(address: str) -> None:
    with pytest.raises(InputError) as caught, connected(address, 0):
        pass
    assert caught.value.findings[0].where == "--scheduler"


class _Cluster:
    """A client of a cluster: what happens to each task in turn, and whether anybody is left."""

    def __init__(self, *fates: object, alive: bool = True, status: str = "running") -> None:
        self.fates, self.alive, self.status = list(fates), alive, status
        self.scheduler = SimpleNamespace(address="tcp://here:1")
        self.sent = 0

    def scatter(self, data: bytes, hash: bool) -> bytes:  # noqa: A002 - the client's own word
        self.sent += 1
        return data

    def submit(self, *_: object, **__: object) -> _Cluster:
        return self

    def result(self, timeout: float) -> object:
        fate = self.fates.pop(0)
        if isinstance(fate, Exception):
            raise fate
        return fate

    def nthreads(self) -> dict[str, int]:
        return {"a": 1} if self.alive else {}


def _asked(cluster: _Cluster, saved: Saver, mlp: onnx.ModelProto, tmp_path: Path) -> object:
    workers = ClusterWorkers(client=cluster)
    return workers.do("run", {"task": "run", "source": str(saved(mlp))}, tmp_path)


def test_a_worker_that_goes_takes_nothing_with_it(
    mlp: onnx.ModelProto, saved: Saver, tmp_path: Path
) -> None:
    """Files that lay on it are sent again."""
    cluster = _Cluster(RuntimeError("lost"), RuntimeError("lost"), ({"ok": True}, {}))
    assert _asked(cluster, saved, mlp, tmp_path) == {"ok": True}
    assert cluster.sent == 3


def test_a_task_that_never_comes_through_is_its_own_failure(
    mlp: onnx.ModelProto, saved: Saver, tmp_path: Path
) -> None:
    cluster = _Cluster(*[RuntimeError("lost")] * 3)
    assert "gave no result" in str(_asked(cluster, saved, mlp, tmp_path))
    late = _Cluster(TimeoutError("late"))
    assert "late" in str(_asked(late, saved, mlp, tmp_path))


@pytest.mark.parametrize("gone", [{"alive": False}, {"status": "connecting"}])
def test_a_cluster_that_is_gone_is_no_fault_of_the_model(
    gone: dict,
    mlp: onnx.ModelProto,
    saved: Saver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "COMING_BACK_SECONDS", 0.1)
    cluster = _Cluster(RuntimeError("lost"), **gone)
    with pytest.raises(UnavailableError) as caught:
        _asked(cluster, saved, mlp, tmp_path)
    assert "was lost in the middle" in caught.value.findings[0].what


def test_jobs_are_processes_at_the_same_time() -> None:
    with workers_for(Effort(3)) as workers:
        assert workers.at_once == 3
    with workers_for(Effort()) as workers:
        assert 1 <= workers.at_once <= 4
