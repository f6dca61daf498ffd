"""The cache of answers: an unchanged question costs nothing, a changed one is asked again, and a
damaged answer is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget
from packager.optimize import remembering
from packager.optimize.evidence import quality_record
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.record import MeasurementRecord
from packager.optimize.remembering import Memory, Question
from packager.optimize.samples import read_samples
from packager.progress import SILENT

BUDGET = QualityBudget(Metric.TOP1_AGREEMENT, 0.9)


Asked = tuple[Question, OptimizedModel, MeasurementRecord, Memory]


@pytest.fixture(scope="module")
def answered(
    mlp: onnx.ModelProto, cpu: HardwareProfile, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Question, OptimizedModel, MeasurementRecord]:
    """A question with its answer, worked out once."""
    folder = tmp_path_factory.mktemp("answered")
    onnx.save_model(mlp, folder / "model.onnx")
    file = folder / "samples.npz"
    np.savez(file, x=np.random.RandomState(2).standard_normal((200, 16)).astype(np.float32))
    model = read_model(folder / "model.onnx")
    into = folder / "out"
    into.mkdir()
    with opened(model, read_samples(file, model), BUDGET, into, SILENT) as bench:
        answer, record = optimize(
            bench,
            hardware=cpu,
            objective=Objective.SIZE,
            record=None,
            into=into,
            progress=SILENT,
        )
    return Question(model, Digest.of_file(file), cpu, BUDGET, Objective.SIZE, None), answer, record


@pytest.fixture
def asked(answered: tuple[Question, OptimizedModel, MeasurementRecord], tmp_path: Path) -> Asked:
    """The same, remembered in a memory of the test's own."""
    question, answer, record = answered
    memory = Memory(tmp_path / "cache")
    memory.keep(question, record, answer)
    return question, answer, record, memory


def test_an_unchanged_question_is_answered_from_memory(asked: Asked) -> None:
    question, answer, record, memory = asked
    assert answer.chosen.name == "int8-dynamic"
    again = memory.recall(question, record)
    assert again is not None
    assert dumps(quality_record(again)) == dumps(quality_record(answer))
    assert again.model.digest == answer.model.digest
    assert again.model.files[0].path.is_relative_to(memory.folder)
    assert answer.golden is not None
    assert again.golden is not None
    assert again.golden.read_bytes() == answer.golden.read_bytes()


def test_whatever_has_a_say_makes_another_question(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, _, record, memory = asked
    file = question.source.files[0]
    others = (
        replace(question, samples=None),
        replace(question, hardware=replace(question.hardware, instructions=frozenset())),
        replace(question, quality=QualityBudget(Metric.TOP1_AGREEMENT, 0.95)),
        replace(question, objective=Objective.LATENCY),
        replace(question, precision=Precision.INT8),
        replace(
            question,
            source=replace(question.source, files=(replace(file, digest=Digest.of(b"other")),)),
        ),
    )
    assert all(memory.recall(other, record) is None for other in others)
    assert memory.recall(question, None) is None, "without its measurements it is another question"
    monkeypatch.setattr(remembering, "tools", lambda: (("onnxruntime", "99"),))
    assert memory.recall(question, record) is None


@pytest.mark.parametrize("victim", ["answer.json", "golden.npz", "model/model.onnx"])
@pytest.mark.parametrize("damage", ["change", "remove", "cut"])
def test_a_damaged_answer_is_none(asked: Asked, victim: str, damage: str) -> None:
    question, answer, record, memory = asked
    file = memory.folder / question.key(record).hex / victim
    data = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(data[:-9] if damage == "cut" else data[:-9] + b"\0" * 9)
    assert memory.recall(question, record) is None
    memory.keep(question, record, answer)
    assert memory.recall(question, record) is not None


def test_the_memory_is_bounded_and_young_answers_stay(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, answer, record, memory = asked
    monkeypatch.setattr(remembering, "ENTRIES_AT_MOST", 1)
    other = replace(question, objective=Objective.LATENCY)
    memory.keep(other, record, answer)
    assert memory.recall(question, record) is not None, "both are young"
    monkeypatch.setattr(remembering, "YOUNG_SECONDS", -1)
    memory.keep(other, record, answer)
    assert memory.recall(other, record) is not None
    assert memory.recall(question, record) is None
