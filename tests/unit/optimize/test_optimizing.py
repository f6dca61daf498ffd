"""The optimizer from end to end on small real models, with the real engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from packager.canonical import dumps
from packager.domain.artifact import Platform
from packager.domain.hardware import HardwareProfile, Precision
from packager.domain.model import (
    Candidate,
    Metric,
    Objective,
    OptimizedModel,
    QualityBudget,
    Verdict,
)
from packager.errors import InputError, OptimizationError
from packager.optimize.anatomy import anatomy_of
from packager.optimize.candidates import candidates
from packager.optimize.engine import open_session
from packager.optimize.npz import read_npz
from packager.optimize.optimizing import opened, optimize, quality_record
from packager.optimize.processes import Workers
from packager.optimize.reading import read_model
from packager.optimize.recipes import Recipe
from packager.optimize.record import MeasurementRecord
from packager.optimize.samples import Samples, read_samples
from packager.optimize.trying import try_all
from packager.progress import SILENT

BUDGET = QualityBudget(Metric.TOP1_AGREEMENT, 0.9)
Saver = Callable[..., Path]


def _rows(optimized: OptimizedModel) -> dict[str, Candidate]:
    return {row.name: row for row in optimized.candidates}


def _samples(model_path: Path, name: str, shape: tuple[int, ...]) -> Samples:
    path = model_path.with_suffix(".npz")
    np.savez(path, **{name: np.random.RandomState(2).standard_normal(shape).astype(np.float32)})
    return read_samples(path, read_model(model_path))


def _optimize(
    path: Path,
    hardware: HardwareProfile,
    into: Path,
    samples: Samples | None,
    record: MeasurementRecord | None = None,
    objective: Objective = Objective.SIZE,
    precision: Precision | None = None,
    workers: Workers | None = None,
) -> tuple[OptimizedModel, MeasurementRecord]:
    into.mkdir()
    with opened(read_model(path), samples, BUDGET, into, SILENT, workers) as bench:
        return optimize(
            bench,
            hardware=hardware,
            objective=objective,
            record=record,
            into=into,
            progress=SILENT,
            precision=precision,
        )


def test_int8_is_chosen_for_size_within_the_budget_and_reproducible(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(mlp)
    samples = _samples(path, "x", (300, 16))
    first, record = _optimize(path, cpu, tmp_path / "a", samples)
    chosen = first.chosen
    assert chosen.name == "int8-dynamic"
    assert chosen.quality is not None
    assert chosen.quality.bound >= BUDGET.bound
    assert chosen.measurement is not None
    assert first.model.size < first.source.size
    assert first.model.files[0].path == tmp_path / "a" / "model.onnx"
    assert first.where.startswith("measured on ")
    assert [use.purpose for use in first.samples] == ["calibration", "evaluation", "golden"]

    # the record makes the second build free of timing, and equal to the byte
    second, unchanged = _optimize(path, cpu, tmp_path / "b", samples, record)
    assert unchanged == record
    assert dumps(quality_record(second)) == dumps(quality_record(first))
    for name in ("model.onnx", "golden.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["golden.npz", "model.onnx"]


def test_the_golden_file_is_what_the_chosen_model_answers(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(mlp)
    optimized, _ = _optimize(path, cpu, tmp_path / "out", _samples(path, "x", (300, 16)))
    assert optimized.golden is not None
    golden = read_npz(optimized.golden)
    assert set(golden) == {"input.x", "output.y"}
    assert golden["input.x"].shape == (4, 16)
    session = open_session(optimized.model.files[0].path, 1)
    assert np.array_equal(session.run(None, {"x": golden["input.x"]})[0], golden["output.y"])


def test_static_int8_of_a_convolution(
    cnn: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(cnn)
    samples = _samples(path, "image", (300, 3, 8, 8))
    optimized, _ = _optimize(path, cpu, tmp_path / "out", samples, objective=Objective.LATENCY)
    row = _rows(optimized)["int8-static-conv"]
    assert row.verdict not in (Verdict.FAILED, Verdict.ILLEGAL)
    assert row.digest is not None
    assert row.quality is not None
    assert "calibration=minmax" in row.passes[0]


def test_without_samples_nothing_lossy_is_eligible(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    optimized, _ = _optimize(saved(mlp), cpu, tmp_path / "out", None)
    rows = _rows(optimized)
    assert rows["int8-dynamic"].verdict is Verdict.REJECTED
    assert "without samples" in rows["int8-dynamic"].reason
    assert rows["graph-extended"].verdict in (Verdict.ELIGIBLE, Verdict.CHOSEN)
    assert optimized.chosen.name in ("source", "graph-extended")
    assert all(use.synthetic for use in optimized.samples)


def test_too_few_samples_keep_the_source_and_say_how_many_are_needed(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(mlp)
    optimized, _ = _optimize(path, cpu, tmp_path / "out", _samples(path, "x", (20, 16)))
    row = _rows(optimized)["int8-dynamic"]
    assert row.verdict is Verdict.REJECTED
    assert "held-out samples cannot prove" in row.reason
    assert "distinct samples in the file" in row.reason


def test_too_few_samples_are_told_before_anything_is_tried_and_blamed_on_no_candidate(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    """Of 200 a part is looked at first; what it gave is no reason to say that a good candidate is
    beyond the budget."""
    path = saved(mlp)
    told: list[str] = []
    progress = SimpleNamespace(advance=lambda *_: None, outcome=lambda *_: None, note=told.append)
    samples = _samples(path, "x", (200, 16))
    budget = QualityBudget(Metric.COSINE, 0.5)
    into = tmp_path / "out"
    into.mkdir()
    with opened(read_model(path), samples, budget, into, progress) as bench:  # type: ignore[arg-type]
        assert len(told) == 1
        assert "146 held-out samples cannot prove cosine of 0.5" in told[0]
        assert "403 distinct samples" in told[0]
        recipe = next(one for one in candidates(anatomy_of(mlp), cpu) if one.name == "int8-dynamic")
        assert isinstance(recipe, Recipe)
        trial = try_all((recipe,), bench, None, SILENT)[0]
    assert not trial.eligible
    assert "at least 299 are needed" in trial.judgement.reason
    assert trial.judgement.quality is not None


def test_another_architecture_is_an_estimate_and_a_gpu_is_not_measured(
    mlp: onnx.ModelProto,
    saved: Saver,
    cpu: HardwareProfile,
    gpu: HardwareProfile,
    tmp_path: Path,
) -> None:
    path = saved(mlp)
    samples = _samples(path, "x", (60, 16))
    foreign = "amd64" if os.uname().machine in ("aarch64", "arm64") else "arm64"
    other = replace(cpu, id="other", platform=Platform("linux", foreign))
    optimized, record = _optimize(path, other, tmp_path / "arm", samples)
    assert optimized.where.endswith("; estimated for other")

    optimized, after = _optimize(path, gpu, tmp_path / "gpu", samples, record)
    assert optimized.where.startswith("not measured")
    assert after == record
    assert optimized.chosen.name == "source"
    assert _rows(optimized)["int8-dynamic"].verdict is Verdict.ILLEGAL


def test_a_pinned_precision_that_nothing_keeps_to_says_what_became_of_its_candidates(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    for precision, told in (
        (Precision.BF16, "bf16: the CPU provider has no BF16 arithmetic"),
        (Precision.INT8, "int8-dynamic: its quality cannot be proved without samples"),
    ):
        with pytest.raises(OptimizationError) as caught:
            into = tmp_path / precision.value
            _optimize(saved(mlp), cpu, into, None, precision=precision)
        assert told in str(caught.value.findings[0].got)


def test_a_pinned_precision(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(mlp)
    samples = _samples(path, "x", (300, 16))
    optimized, record = _optimize(
        path, cpu, tmp_path / "int8", samples, objective=Objective.LATENCY, precision=Precision.INT8
    )
    assert optimized.chosen.precision is Precision.INT8
    optimized, _ = _optimize(path, cpu, tmp_path / "f", samples, record, precision=Precision.FP32)
    assert _rows(optimized)["int8-dynamic"].reason == "the release pins fp32"
    with pytest.raises(OptimizationError):
        _optimize(path, cpu, tmp_path / "none", None, record, precision=Precision.INT8)


def test_a_crash_in_measuring_is_a_row_and_the_run_goes_on(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, os, pathlib, signal, sys\n"
        "task = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "if task['task'] == 'measure' and 'int8' in task['candidate']:\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "from packager.optimize.worker import main\n"
        "sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))\n"
    )
    path = saved(mlp)
    workers = Workers((sys.executable, str(script)))
    samples = _samples(path, "x", (300, 16))
    optimized, _ = _optimize(path, cpu, tmp_path / "out", samples, workers=workers)
    row = _rows(optimized)["int8-dynamic"]
    assert row.verdict is Verdict.FAILED
    assert "SIGSEGV" in row.reason
    assert optimized.chosen.name in ("source", "graph-extended", "fp16-stored")


def test_a_model_that_the_engine_cannot_run_is_an_input_error(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    stranger = onnx.ModelProto()
    stranger.CopyFrom(mlp)
    stranger.graph.node[1].domain = "com.example"
    stranger.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with pytest.raises(InputError, match="cannot run the model"):
        _optimize(saved(stranger), cpu, tmp_path / "out", None)
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_beside_the_graph_stay_beside_it(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = saved(mlp, "model/model.onnx", **options)
    samples = _samples(path, "x", (300, 16))
    optimized, _ = _optimize(path, cpu, tmp_path / "out", samples)
    assert optimized.chosen.name == "int8-dynamic"
    assert all(file.path.parent == tmp_path / "out" for file in optimized.model.files)
    assert read_model(tmp_path / "out").digest == optimized.model.digest


def test_hash_seeds_do_not_show(mlp: onnx.ModelProto, saved: Saver, tmp_path: Path) -> None:
    path = saved(mlp)
    task = {
        "task": "make",
        "source": str(path),
        "external": False,
        "aside": False,
        "seconds": 60,
        "memory_bytes": 8 << 30,
    }
    passes = {
        "graph_optimization": {"level": "extended"},
        "quantize_dynamic": {"operators": ["MatMul"], "per_channel": True, "reduce_range": False},
    }
    for name, parameters in passes.items():
        seen = set()
        for seed in ("1", "77"):
            target = tmp_path / f"{name}-{seed}.onnx"
            steps = [{"name": name, "parameters": parameters}]
            file = tmp_path / "task.json"
            file.write_bytes(dumps({**task, "passes": steps, "target": str(target)}))
            subprocess.run(
                [sys.executable, "-m", "packager.optimize.worker", file, tmp_path / "result.json"],
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
            )
            seen.add(target.read_bytes())
        assert len(seen) == 1
        assert str(tmp_path).encode() not in seen.pop()


def test_nothing_is_written_beside_the_users_model(
    mlp: onnx.ModelProto, saved: Saver, cpu: HardwareProfile, tmp_path: Path
) -> None:
    path = saved(mlp, "model/model.onnx")
    samples = _samples(path, "x", (300, 16))
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    touched = path.parent.stat().st_mtime_ns
    _optimize(path, cpu, tmp_path / "out", samples)
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before
    assert path.parent.stat().st_mtime_ns == touched, "a file came and went in the user's folder"
