"""What is measured of batches becomes what the server does with its queue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from built_targets import HARDWARE, JURISDICTIONS, build_target, jurisdiction, release_request

from packager.assemble.queueing import FILLED_BATCH_SIZE, MAX_BATCH_SIZE, queueing
from packager.domain.hardware import Precision
from packager.domain.model import (
    Batching,
    Candidate,
    Measurement,
    Model,
    OptimizedModel,
    TensorSpec,
    Verdict,
)
from packager.domain.release import PlannedTarget
from packager.domain.target import DeploymentPlatform

ROWS = TensorSpec("x", "FP32", (-1, 4))


def _target(hardware: str) -> PlannedTarget:
    place = jurisdiction("de", JURISDICTIONS["de"][0], ())
    built = build_target(release_request(), place, HARDWARE[hardware], DeploymentPlatform.COMPOSE)
    return built.plan


def _model(measured: Measurement | None, batching: Batching | None) -> OptimizedModel:
    model = Model((), (ROWS,), (ROWS,), 17, Precision.FP32)
    chosen = Candidate("c", Precision.FP32, Verdict.CHOSEN, "why", (), measurement=measured)
    return OptimizedModel(
        model, model, (chosen,), "here", Path("golden.npz"), 1, (), batching=batching
    )


SLOW = Measurement(4.0, 5.0, 250.0, 1.0)


def test_the_measured_batch_is_the_servers() -> None:
    settings = queueing(_target("x86-64-v3"), _model(SLOW, Batching(16, 2.0)))
    assert settings == {"max_batch_size": 16}


def test_where_batches_do_not_pay_none_are_made() -> None:
    assert queueing(_target("x86-64-v3"), _model(SLOW, Batching(0, 1.1))) is None


def test_without_a_sweep_the_two_rates_decide_and_an_accelerator_batches() -> None:
    fast = replace(SLOW, throughput_per_s=600.0)
    assert queueing(_target("x86-64-v3"), _model(fast, None)) == {"max_batch_size": MAX_BATCH_SIZE}
    assert queueing(_target("x86-64-v3"), _model(None, None)) is None
    assert queueing(_target("nvidia-l4"), _model(None, None)) == {"max_batch_size": MAX_BATCH_SIZE}


def test_where_each_size_of_batch_costs_a_plan_there_is_only_one() -> None:
    model = _model(None, None)
    convolution = replace(model, model=replace(model.model, operators=("Conv", "Relu")))
    transformer = replace(model, model=replace(model.model, operators=("MatMul",)))
    size = {"max_batch_size": MAX_BATCH_SIZE}
    graphs = {"cuda_graphs": [1, 2, 4, 8, 16, 32]}
    filled = {"fill_up": [FILLED_BATCH_SIZE]}
    assert queueing(_target("nvidia-l4"), convolution) == size | filled | graphs
    assert queueing(_target("nvidia-l4"), transformer) == size | graphs
    on_cpu = replace(convolution, batching=Batching(16, 2.0))
    assert queueing(_target("x86-64-v3"), on_cpu) == {"max_batch_size": 16}


def test_graphs_are_recorded_of_what_has_one_shape_besides_its_rows() -> None:
    model = _model(None, Batching(12, 2.0))
    known = replace(model, model=replace(model.model, operators=("MatMul",)))
    settings = queueing(_target("nvidia-l4"), known)
    assert settings == {"max_batch_size": 12, "cuda_graphs": [1, 2, 4, 8, 12]}
    size = {"max_batch_size": 12}
    for other in (
        replace(known.model, inputs=(TensorSpec("x", "FP32", (-1, -1)),)),
        replace(known.model, outputs=(TensorSpec("y", "BF16", (-1, 4)),)),
        replace(known.model, operators=("MatMul", "Loop")),
        replace(known.model, operators=()),
    ):
        assert queueing(_target("nvidia-l4"), replace(known, model=other)) == size
    assert queueing(_target("x86-64-v3"), known) == size


def test_a_model_without_rows_is_never_batched() -> None:
    model = _model(SLOW, Batching(16, 2.0))
    fixed = replace(model.model, outputs=(TensorSpec("y", "FP32", (1, 4)),))
    assert queueing(_target("x86-64-v3"), replace(model, model=fixed)) is None
