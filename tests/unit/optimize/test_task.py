"""The user's own metric: read without running it, run in a worker, and judged with a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Metric, Objective, QualityBudget, TaskFiles
from packager.errors import InputError
from packager.optimize.confidence import mean_upper_bound, share_lower_bound
from packager.optimize.evidence import quality_record
from packager.optimize.gate import Scores, hopeless, judge
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples
from packager.optimize.task import read_task, scores_of
from packager.progress import SILENT

ACCURACY = """
import numpy as np

def score(outputs, labels):
    return outputs["y"].reshape(len(labels["kind"]), -1).argmax(-1) == labels["kind"]
"""
HALF_A_PERCENT = QualityBudget(Metric.TASK, 0.005)
Y = {"y": np.zeros((1000, 2), np.float32)}


def _right(count: int, wrong: int) -> np.ndarray:
    scores = np.ones(count, bool)
    scores[:wrong] = False
    return scores


def test_a_candidate_that_is_wrong_by_six_in_a_thousand_is_rejected() -> None:
    held = scores_of(_right(1000, 0), _right(1000, 6))
    judgement = judge(Y, Y, HALF_A_PERCENT, held)
    assert not judgement.passed
    assert judgement.quality is not None
    assert judgement.quality.task == (1.0, 0.994)
    assert judgement.quality.value == 0.006
    assert judgement.quality.bound == pytest.approx(1 - share_lower_bound(994, 1000), abs=1e-4)


def test_a_candidate_that_loses_nothing_passes_with_enough_samples_and_not_with_few() -> None:
    held = scores_of(_right(1000, 30), _right(1000, 30))
    assert judge(Y, Y, HALF_A_PERCENT, held).passed
    few = {"y": Y["y"][:500]}
    judgement = judge(few, few, HALF_A_PERCENT, scores_of(_right(500, 0), _right(500, 0)))
    assert not judgement.passed
    assert "takes about 598 held-out samples" in judgement.reason


def test_what_got_better_makes_up_for_nothing() -> None:
    before, after = _right(1000, 20), _right(1000, 20)
    after = after[::-1]  # twenty others are wrong now
    judgement = judge(Y, Y, QualityBudget(Metric.TASK, 0.02), scores_of(before, after))
    assert judgement.quality is not None
    assert judgement.quality.value == 0.0
    assert not judgement.passed


def test_without_scores_nothing_passes() -> None:
    assert not judge(Y, Y, HALF_A_PERCENT).passed
    assert hopeless(Y, Y, 2000, HALF_A_PERCENT)
    short = scores_of(_right(999, 0), _right(999, 0))
    assert not judge(Y, Y, HALF_A_PERCENT, short).passed


def test_nan_is_refused_whatever_the_metric_says() -> None:
    broken = {"y": np.full((1000, 2), np.nan, np.float32)}
    held = scores_of(_right(1000, 0), _right(1000, 0))
    assert not judge(Y, broken, HALF_A_PERCENT, held).passed


def test_the_bound_of_a_mean_against_closed_forms() -> None:
    # nothing lost: (1 - mean)^n is 0.05 where scores are whole, 0.05 / e where they are not
    assert mean_upper_bound(0, 300, whole=True) == pytest.approx(1 - 0.05 ** (1 / 300))
    fractions = 1 - (0.05 / np.e) ** (1 / 300)
    assert mean_upper_bound(0, 300, whole=False) == pytest.approx(fractions, abs=1e-9)
    assert mean_upper_bound(3, 300, whole=True) < mean_upper_bound(3.0, 300, whole=False)


def test_the_bound_covers_the_true_mean_in_at_least_95_of_100() -> None:
    random = np.random.RandomState(4)
    for draw, whole in (
        (lambda: random.rand(200) < 0.03, True),
        (lambda: random.beta(0.2, 5, 200), False),
    ):
        mean = 0.03 if whole else 0.2 / 5.2
        held = [mean_upper_bound(float(draw().sum()), 200, whole=whole) >= mean for _ in range(200)]
        assert np.mean(held) >= 0.93


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.integers(0, 200)
)
def test_being_hopeless_never_changes_a_verdict(pairs: list[tuple[bool, bool]], more: int) -> None:
    budget = QualityBudget(Metric.TASK, 0.05)
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    total = len(pairs) + more
    part = {"y": np.zeros((len(pairs), 2), np.float32)}
    if hopeless(part, part, total, budget, scores_of(before, after)):
        whole = {"y": np.zeros((total, 2), np.float32)}
        best = scores_of(*(np.concatenate([side, np.ones(more, bool)]) for side in (before, after)))
        assert not judge(whole, whole, budget, best).passed


@pytest.fixture
def files(tmp_path: Path) -> TaskFiles:
    (tmp_path / "metric.py").write_text(ACCURACY)
    np.savez(tmp_path / "labels.npz", kind=np.zeros(400, np.int64))
    return TaskFiles(tmp_path / "metric.py", tmp_path / "labels.npz")


Saver = Callable[..., Path]


def _laid_out(path: Path, files: TaskFiles) -> tuple:
    """The model with 400 samples, and its own answers as labels."""
    model = read_model(path)
    x = np.random.RandomState(2).standard_normal((400, 16)).astype(np.float32)
    np.savez(path.with_suffix(".npz"), x=x)
    weights = {
        one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer
    }
    answers = np.maximum(x @ weights["w1"], 0) @ weights["w2"]
    np.savez(files.labels, kind=answers.argmax(-1))
    return model, read_samples(path.with_suffix(".npz"), model)


def test_the_optimizer_keeps_to_a_task(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path, files: TaskFiles
) -> None:
    model, samples = _laid_out(saved(mlp), files)
    task = read_task(files, samples)
    budget = QualityBudget(Metric.TASK, 0.1, task.plugin_digest, task.labels_digest)
    into = tmp_path / "out"
    into.mkdir()
    with opened(model, samples, budget, into, SILENT, task=task) as bench:
        optimized, _ = optimize(
            bench, hardware=cpu, objective=Objective.SIZE, record=None, into=into, progress=SILENT
        )
    assert optimized.chosen.name == "int8-dynamic"
    assert optimized.chosen.quality is not None
    assert optimized.chosen.quality.task is not None
    source, candidate = optimized.chosen.quality.task
    assert source == 1.0
    assert 0.9 < candidate <= 1.0
    record = quality_record(optimized)
    assert record["budget"]["plugin"] == str(task.plugin_digest)
    chosen = next(row for row in record["candidates"] if row["verdict"] == "chosen")
    assert chosen["quality"]["score"] == {"source": source, "candidate": candidate}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def score(outputs, labels): return [2.0] * len(labels['kind'])", "between 0 and 1"),
        ("def score(outputs, labels): return 1.0", "of shape ()"),
        ("def score(outputs, labels): raise KeyError('nothing')", "KeyError"),
        ("import os\ndef score(outputs, labels): os.abort()", "SIGABRT"),
    ],
    ids=["range", "shape", "raises", "dies"],
)
def test_a_metric_that_cannot_score_the_source_is_an_error(
    text: str, said: str, mlp: onnx.ModelProto, saved: Saver, tmp_path: Path, files: TaskFiles
) -> None:
    model, samples = _laid_out(saved(mlp), files)
    files.plugin.write_text(text)
    task = read_task(files, samples)
    with (
        pytest.raises(InputError) as caught,
        opened(model, samples, HALF_A_PERCENT, tmp_path, SILENT, task=task),
    ):
        pass
    (finding,) = caught.value.findings
    assert finding.where == "quality.plugin"
    assert said in (finding.got or "")


def test_reading_finds_everything_and_runs_nothing(
    mlp: onnx.ModelProto, saved: Saver, tmp_path: Path, files: TaskFiles
) -> None:
    _, samples = _laid_out(saved(mlp), files)
    marker = tmp_path / "ran"
    files.plugin.write_text(f"open({str(marker)!r}, 'w')\ndef score(outputs): return 1\n")
    np.savez(files.labels, a=np.zeros(3), b=np.float32(1))
    with pytest.raises(InputError) as caught:
        read_task(files, samples)
    assert len(caught.value.findings) == 3
    assert not marker.exists()
    for text, got in (("def score(:", "invalid syntax"), ("x = 1", "no such function")):
        files.plugin.write_text(text)
        with pytest.raises(InputError) as caught:
            read_task(files, samples)
        assert got in (caught.value.findings[0].got or "")
    with pytest.raises(InputError, match="cannot be read"):
        read_task(replace(files, plugin=tmp_path / "none.py"), samples)


def test_scores_that_are_fractions_are_not_taken_for_right_and_wrong() -> None:
    assert isinstance(scores_of(np.ones(3), np.ones(3, bool)), Scores)
    assert not scores_of(np.ones(3), np.ones(3, bool)).whole
    assert scores_of(np.ones(3, np.int64), np.ones(3, bool)).whole
