"""Candidates that are broken in every way that we could think of: none is ever chosen, and the run
ends with a valid choice.

A script stands before the real worker and breaks one candidate, `fp16-stored`, which is otherwise
within the budget and the smallest, as the objective asks for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget, Verdict
from packager.optimize import candidates, trying
from packager.optimize.optimizing import opened, optimize
from packager.optimize.processes import WORKER, Limits, Workers
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples
from packager.progress import SILENT

VICTIM = "fp16-stored"
AFTER = f"subprocess.run({list(WORKER)} + sys.argv[1:], check=True); "
OUTPUTS = AFTER + "import numpy as n; y = n.load(task['target'])['y']; "
STORE = "; n.savez(task['target'][:-4], y=y)"

# name → (task that is broken, what happens in it, verdict, a word of the reason)
FAULTS = {
    "segfault": ("run", "os.kill(os.getpid(), signal.SIGSEGV)", Verdict.FAILED, "SIGSEGV"),
    "segfault while made": ("make", "os.kill(os.getpid(), 11)", Verdict.FAILED, "SIGSEGV"),
    "segfault while measured": (
        "look, measure",
        "os.kill(os.getpid(), 11)",
        Verdict.FAILED,
        "SIGSEGV",
    ),
    "hang": ("run", "time.sleep(600)", Verdict.FAILED, "did not finish"),
    "memory": (
        "run",
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); x = bytearray(8 << 30)",
        Verdict.FAILED,
        "MemoryError",
    ),
    "nan": ("run", OUTPUTS + "y[3, 0, 1] = n.nan" + STORE, Verdict.REJECTED, "NaN"),
    "infinity": ("run", OUTPUTS + "y[0, 0, 0] = n.inf" + STORE, Verdict.REJECTED, "infinity"),
    "swapped output": ("run", OUTPUTS + "y = y[:, :, ::-1]" + STORE, Verdict.REJECTED, "budget"),
    "another shape": ("run", OUTPUTS + "y = y[:, :, :5]" + STORE, Verdict.REJECTED, "shape"),
    "another type": ("run", OUTPUTS + "y = y.astype('i8')" + STORE, Verdict.REJECTED, "type"),
    "missing output": (
        "run",
        AFTER + "import numpy as n; n.savez(task['target'][:-4], z=n.zeros((9, 1, 10)))",
        Verdict.REJECTED,
        "other names",
    ),
    "wrong by 0.6 %": (
        "run",
        OUTPUTS + "w = n.arange(len(y)) % 166 == 0; y[w] = y[w][:, :, ::-1]" + STORE,
        Verdict.REJECTED,
        "0.99",
    ),
    "junk": (
        "make",
        AFTER + "pathlib.Path(task['target']).write_bytes(b'junk')",
        Verdict.FAILED,
        "not a valid model",
    ),
    "cut short": (
        "make",
        AFTER + "p = pathlib.Path(task['target']); p.write_bytes(p.read_bytes()[:-400])",
        Verdict.FAILED,
        "not a valid model",
    ),
    "no result": ("make", "sys.exit(0)", Verdict.FAILED, "without a readable result"),
    "no answers": (
        "run",
        'pathlib.Path(sys.argv[2]).write_text(\'{"ok": true, "seconds": 1.0}\')',
        Verdict.FAILED,
        "no readable answers",
    ),
    "answers that are none": (
        "run",
        AFTER + "pathlib.Path(task['target']).write_bytes(b'PK' * 99)",
        Verdict.FAILED,
        "no readable answers",
    ),
    "a result without a figure": (
        "run",
        AFTER + "pathlib.Path(sys.argv[2]).write_text('{\"ok\": true}')",
        Verdict.FAILED,
        "no readable answers",
    ),
    "only half of it": (
        "run",
        OUTPUTS + "y = y[: len(y) // 2]" + STORE,
        Verdict.REJECTED,
        "shape",
    ),
    "the answers of before": (
        "run",
        "p = pathlib.Path(sys.argv[0] + '.seen')\n    if p.exists(): sys.exit(0)\n    p.touch(); "
        + AFTER,
        Verdict.FAILED,
        "without a readable result",
    ),
    "garbage on every stream": (
        "run",
        "os.write(1, b'{}' * 50000); os.write(2, b'\\xff' * 5000000); sys.exit(3)",
        Verdict.FAILED,
        "exit code 3",
    ),
    "a file without end": (
        "run",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)\n"
        "    f = open(task['target'], 'wb')\n    while True: f.write(bytes(1 << 16))",
        Verdict.FAILED,
        "File too large",
    ),
    "children that stay": (
        "run",
        "subprocess.Popen(['sleep', '677']); sys.exit(1)",
        Verdict.FAILED,
        "exit code 1",
    ),
    "right alone and wrong in company": (
        "run",
        AFTER + "import numpy as n; o = dict(n.load(task['target'])); k = 'y in a batch'; "
        "o.update({k: o[k][::-1]} if k in o else {}); n.savez(task['target'][:-4], **o)",
        Verdict.REJECTED,
        "in a batch otherwise",
    ),
    "a lie": (
        "make",
        "pathlib.Path(sys.argv[2]).write_text('{\"ok\": true}')",
        Verdict.FAILED,
        "not a valid model",
    ),
}
SCRIPT = f"""
import json, os, pathlib, resource, signal, subprocess, sys, time
task = json.loads(pathlib.Path(sys.argv[1]).read_text())
target = str(task.get('candidates') or task.get('candidate') or task.get('model') or task['target'])
if task['task'] in {{task!r}} and {VICTIM!r} in target:
    {{fault}}
    sys.exit(0)
os.execv(sys.executable, {list(WORKER)} + sys.argv[1:])
"""


@pytest.fixture
def broken(
    mlp: onnx.ModelProto,
    saved: Callable[..., Path],
    cpu: HardwareProfile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str, str], OptimizedModel]:
    few = (candidates.source, candidates.graph_optimization, candidates.stored_half)
    monkeypatch.setattr(candidates, "RULES", few)

    def run(task: str, fault: str) -> OptimizedModel:
        # who hangs is waited for; any other fault must be told by itself, however slow the machine
        monkeypatch.setattr(trying, "PATIENCE_SECONDS", 6 if "sleep" in fault else 120)
        script = tmp_path / "faulty.py"
        script.write_text(SCRIPT.format(task=task, fault=fault))
        workers = Workers((sys.executable, str(script)), Limits(120))
        model = read_model(saved(mlp))
        samples = tmp_path / "samples.npz"
        np.savez(samples, x=np.random.RandomState(2).standard_normal((1200, 16)).astype(np.float32))
        into = tmp_path / "out"
        into.mkdir()
        budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.99)
        with opened(model, read_samples(samples, model), budget, into, SILENT, workers) as bench:
            optimized, _ = optimize(
                bench,
                hardware=cpu,
                objective=Objective.SIZE,
                record=None,
                into=into,
                progress=SILENT,
            )
        return optimized

    return run


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_candidate_is_never_chosen(
    name: str, broken: Callable[[str, str], OptimizedModel]
) -> None:
    task, fault, verdict, word = FAULTS[name]
    optimized = broken(task, fault)
    row = next(row for row in optimized.candidates if row.name == VICTIM)
    assert row.verdict is verdict, row.reason
    assert word in row.reason
    assert optimized.chosen.name != VICTIM
    assert optimized.model.files[0].path.exists()
    assert optimized.golden is not None
    assert not [pid for pid, command in _processes() if "sleep\0677" in command]


def test_unbroken_it_would_have_been_chosen(broken: Callable[[str, str], OptimizedModel]) -> None:
    """Without this, the test above could pass for no reason."""
    assert broken("none", "pass").chosen.name == VICTIM
    assert not [pid for pid in _children() if pid != os.getpid()]


def _processes() -> list[tuple[int, str]]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append((int(file.parent.name), file.read_text(errors="replace")))
    return found


def _children() -> list[int]:
    """Workers that outlived their task: processes whose parent is this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
