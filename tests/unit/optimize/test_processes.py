"""Whatever a candidate's process does, the run goes on and a reason comes back.

The worker is the real one; a small script in front of it plants the fault.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from packager.domain.hardware import HardwareProfile
from packager.domain.model import QualityBudget
from packager.errors import InputError
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.gate import judge
from packager.optimize.in_batches import MARK
from packager.optimize.making import Answers, Made, Workshop
from packager.optimize.processes import WORKER, Failure, Limits, Workers
from packager.optimize.reading import read_model
from packager.optimize.recipes import Recipe
from packager.optimize.samples import synthetic_samples

FAULTS = {
    "segfault": "os.kill(os.getpid(), signal.SIGSEGV)",
    "throw": "print('what():  std::bad_alloc', file=sys.stderr, flush=True); os.abort()",
    "exit": "print('out of luck', file=sys.stderr); sys.exit(7)",
    "hang": "time.sleep(600)",
    "silence": "sys.exit(0)",
    "rubbish": "pathlib.Path(sys.argv[2]).write_text('{[')",
    "memory": (
        "resource.setrlimit(resource.RLIMIT_AS, (task['memory_bytes'],) * 2);"
        " hog = bytearray(task['memory_bytes'])"
    ),
}
SCRIPT = """
import json, os, pathlib, resource, signal, subprocess, sys, time
task = json.loads(pathlib.Path(sys.argv[1]).read_text())
if {condition}:
    {fault}
    sys.exit(0)
os.execv(sys.executable, {worker} + sys.argv[1:])
"""


@pytest.fixture
def faulty(tmp_path: Path) -> Callable[..., Workers]:
    def make(fault: str, condition: str = "True", seconds: int = 60) -> Workers:
        script = tmp_path / "faulty.py"
        text = SCRIPT.format(condition=condition, fault=fault, worker=list(WORKER))
        script.write_text(text)
        return Workers((sys.executable, str(script)), Limits(seconds))

    return make


@pytest.fixture
def recipe(mlp: onnx.ModelProto, cpu: HardwareProfile) -> Recipe:
    rows = candidates(anatomy_of(mlp), cpu)
    return next(row for row in rows if isinstance(row, Recipe) and row.name == "int8-dynamic")


@pytest.fixture
def workshop(
    mlp: onnx.ModelProto, saved: Callable[..., Path], tmp_path: Path
) -> Callable[[Workers], Workshop]:
    model = read_model(saved(mlp))
    samples = synthetic_samples(model, 40)

    def open_shop(workers: Workers) -> Workshop:
        folder = tmp_path / "shop"
        folder.mkdir()
        return Workshop.open(model, samples, folder, workers)

    return open_shop


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("segfault", "SIGSEGV"),
        ("throw", "SIGABRT: the memory did not suffice"),
        ("exit", "exit code 7: out of luck"),
        ("hang", "did not finish within 2 s"),
        ("silence", "without a readable result"),
        ("rubbish", "without a readable result"),
        ("memory", "MemoryError"),
    ],
)
def test_a_fault_is_a_failure_with_a_reason(
    faulty: Callable[..., Workers], tmp_path: Path, fault: str, told: str
) -> None:
    workers = faulty(FAULTS[fault], seconds=2 if fault == "hang" else 60)
    outcome = workers.do("task", {"task": "make"}, tmp_path)
    assert isinstance(outcome, Failure)
    assert told in outcome.reason


def test_the_real_worker_keeps_to_its_memory(tmp_path: Path) -> None:
    limits = Limits(60, memory_bytes=64 << 20)  # the engine alone does not fit
    outcome = Workers(limits=limits).do("task", {"task": "run", "model": "x"}, tmp_path)
    assert isinstance(outcome, Failure)


def test_a_recipe_becomes_a_model_that_answers(
    workshop: Callable[[Workers], Workshop], recipe: Recipe
) -> None:
    shop = workshop(Workers())
    source, made = shop.run_source(), shop.make(recipe, Limits())
    assert isinstance(made, Made)
    assert made.model.size < shop.source.size
    answered = shop.answer("candidate", made.judged, 0, len(shop.samples.evaluation))
    assert isinstance(answered, Answers)
    assert answered.outputs["y"].shape == source.outputs["y"].shape


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("array[3, 0, 1] = numpy.nan", "NaN"),
        ("array = array[:, :, ::-1]", "the budget is"),
        ("array = array[:, :, :5]", "another shape"),
    ],
)
def test_a_candidate_with_wrong_answers_does_not_pass(
    faulty: Callable[..., Workers],
    workshop: Callable[[Workers], Workshop],
    recipe: Recipe,
    change: str,
    told: str,
) -> None:
    """The worker runs as ever; then its outputs are changed as a broken kernel would."""
    fault = (
        f"subprocess.run({list(WORKER)} + sys.argv[1:], check=True);"
        " import numpy; array = numpy.load(task['target'])['y']; "
        f"{change}; numpy.savez(task['target'][:-4], y=array)"
    )
    condition = "task['task'] == 'run' and 'int8' in task['model']"
    shop = workshop(faulty(fault, condition))
    source, made = shop.run_source(), shop.make(recipe, Limits())
    assert isinstance(made, Made)
    answered = shop.answer("candidate", made.judged, 0, len(shop.samples.evaluation))
    assert isinstance(answered, Answers)
    judgement = judge(source.outputs, answered.outputs, QualityBudget(bound=0.9))
    assert not judgement.passed
    assert told in judgement.reason


def test_an_invalid_graph_and_another_signature_are_failures(
    faulty: Callable[..., Workers],
    workshop: Callable[[Workers], Workshop],
    recipe: Recipe,
    cnn: onnx.ModelProto,
    saved: Callable[..., Path],
) -> None:
    other = saved(cnn, "other.onnx")
    done = "pathlib.Path(sys.argv[2]).write_text('{\"ok\": true}')"
    copy = f"import shutil; shutil.copy({str(other)!r}, task['target']); {done}"
    making = "task['task'] == 'make'"
    shop = workshop(faulty(copy, making))
    outcome = shop.make(recipe, Limits())
    assert isinstance(outcome, Failure)
    assert "not those of the source" in outcome.reason
    junk = f"pathlib.Path(task['target']).write_bytes(b'junk'); {done}"
    again = replace(shop, workers=faulty(junk, making))
    outcome = again.make(replace(recipe, name="junk"), Limits())
    assert isinstance(outcome, Failure)
    assert "not a valid model" in outcome.reason


def test_a_source_that_cannot_run_is_an_input_error(
    faulty: Callable[..., Workers], workshop: Callable[[Workers], Workshop]
) -> None:
    with pytest.raises(InputError, match="cannot run the model"):
        workshop(faulty(FAULTS["segfault"])).run_source()


def test_stopping_ends_what_runs_and_starts_nothing_new(
    faulty: Callable[..., Workers], tmp_path: Path
) -> None:
    workers = faulty(FAULTS["hang"])
    outcomes: list[object] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(workers.do("task", {"task": "make"}, tmp_path))
    )
    thread.start()
    deadline = time.monotonic() + 20
    while not workers.running and time.monotonic() < deadline:
        time.sleep(0.01)
    workers.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(outcomes[0], Failure)
    assert workers.do("next", {"task": "make"}, tmp_path) == Failure("was stopped")


def test_outputs_of_workers_are_plain_data(
    workshop: Callable[[Workers], Workshop], tmp_path: Path
) -> None:
    shop = workshop(Workers())
    shop.run_source()
    with np.load(shop.folder / "source.outputs.npz", allow_pickle=False) as outputs:
        assert outputs.files == ["y", f"y{MARK}"]
    assert json.loads((shop.folder / "run-source.result.json").read_text())["ok"] is True
