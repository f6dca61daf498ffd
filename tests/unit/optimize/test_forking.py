"""Workers forked from a warm process end as those that are started from nothing.

The user's metric runs in a worker, so a faulty one does there whatever a candidate could do.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packager.optimize import forking
from packager.optimize.npz import read_npz, write_npz
from packager.optimize.processes import Failure, Limits, Workers, warmed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux only")

FAULTS = {
    "segfault": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    "exit": ("import sys; print('out of luck', file=sys.stderr); sys.exit(7)", "exit code 7: out"),
    "hang": ("import time; time.sleep(600)", "did not finish within 2 s"),
    "memory": ("bytearray(64 << 30)", "MemoryError"),
    "another's signal": ("import os, signal; os.killpg(0, signal.SIGTERM)", "SIGTERM"),
    "no result": ("import os; os._exit(0)", "without a readable result"),
}


@pytest.fixture(scope="module")
def forked() -> Iterator[Workers]:
    with warmed(Workers(limits=Limits(60))) as workers:
        assert workers.nursery is not None
        yield workers


def _scored(workers: Workers, folder: Path, plugin: str) -> dict | Failure:
    folder.mkdir(exist_ok=True)
    (folder / "plugin.py").write_text(plugin)
    for name in ("outputs", "labels"):
        write_npz(folder / f"{name}.npz", {"y": np.ones(4)})
    task = {
        "task": "score",
        "plugin": str(folder / "plugin.py"),
        "labels": str(folder / "labels.npz"),
        "outputs": str(folder / "outputs.npz"),
        "target": str(folder / "scores.npz"),
        "start": 0,
        "stop": 4,
    }
    return workers.do("score", task, folder)


GOOD = "def score(outputs, labels):\n    return outputs['y'] * 0.5\n"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_failure_with_a_reason(name: str, forked: Workers, tmp_path: Path) -> None:
    fault, told = FAULTS[name]
    limited = forked.within(Limits(2 if name == "hang" else 60))
    outcome = _scored(limited, tmp_path, f"def score(outputs, labels):\n    {fault}\n")
    assert isinstance(outcome, Failure)
    assert told in outcome.reason
    assert not isinstance(_scored(forked, tmp_path, GOOD), Failure), "and the next one is served"
    assert read_npz(tmp_path / "scores.npz")["scores"].tolist() == [0.5] * 4


def test_workers_share_nothing_but_what_was_imported(forked: Workers, tmp_path: Path) -> None:
    """What one task does to its process is not seen by the next."""
    spoil = "import numpy, os, signal\nnumpy.ones = None\nos.environ['SPOILT'] = '1'\n"
    spoil += "def score(outputs, labels):\n    os.chdir('/')\n    return outputs['y'] * 0\n"
    assert not isinstance(_scored(forked, tmp_path, spoil), Failure)
    clean = (
        "import numpy, os\ndef score(outputs, labels):\n"
        "    assert 'SPOILT' not in os.environ and os.getpgid(0) == os.getpid()\n"
        "    return numpy.ones(4)\n"
    )
    assert not isinstance(_scored(forked, tmp_path, clean), Failure)


def test_several_at_the_same_time(forked: Workers, tmp_path: Path) -> None:
    slow = GOOD.replace("    return", "    import time; time.sleep(0.5)\n    return")
    outcomes: list[dict | Failure] = []
    threads = [
        threading.Thread(
            target=lambda n=n: outcomes.append(_scored(forked, tmp_path / str(n), slow))
        )
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [isinstance(one, Failure) for one in outcomes] == [False] * 6


def test_nothing_outlives_the_one_who_started_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    plugin = f"import os, time, pathlib\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
    with warmed(Workers(limits=Limits(60))) as workers:
        thread = threading.Thread(
            target=_scored, args=(workers, tmp_path, plugin + "time.sleep(600)\n")
        )
        thread.start()
        deadline = time.monotonic() + 60
        while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        worker = int(note.read_text())
    thread.join(30)
    assert not thread.is_alive()
    assert not Path(f"/proc/{worker}").exists()


def test_when_the_warm_process_dies_workers_start_from_nothing(tmp_path: Path) -> None:
    with warmed(Workers(limits=Limits(60))) as workers:
        assert workers.nursery is not None
        assert not isinstance(_scored(workers, tmp_path, GOOD), Failure)
        os.kill(workers.nursery._process.pid, signal.SIGKILL)
        workers.nursery._listener.join(10)
        assert not isinstance(_scored(workers, tmp_path, GOOD), Failure)


def test_a_warm_process_that_cannot_start_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "ZYGOTE", (sys.executable, "-c", "raise SystemExit(1)"))
    with warmed(Workers(limits=Limits(60))) as workers:
        assert not isinstance(_scored(workers, tmp_path, GOOD), Failure)
