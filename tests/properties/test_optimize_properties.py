"""Properties of the optimizer: no bytes crash its doors, and no order changes its choice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from packager.domain.hardware import Precision
from packager.domain.model import Metric, Model, Objective, QualityBudget, TensorSpec
from packager.errors import PackagerError
from packager.optimize.choosing import Contender, choose, gain
from packager.optimize.confidence import samples_needed, share_lower_bound
from packager.optimize.front import Point, dominates, pareto_front
from packager.optimize.gate import hopeless, judge
from packager.optimize.reading import read_model
from packager.optimize.record_file import read_record
from packager.optimize.samples import read_samples


def _real_model() -> bytes:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


REAL = _real_model()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real model, cut, with some bytes changed."""
    data = bytearray(REAL[: draw(st.integers(0, len(REAL)))])
    for _ in range(draw(st.integers(0, 6)) if data else 0):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.binary(max_size=400), damaged()))
def test_no_bytes_at_all_give_a_traceback(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(data)
        try:
            model = read_model(path)
        except PackagerError as error:
            assert all(finding.what and finding.where for finding in error.findings)
        else:
            assert model.outputs


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_samples_or_measurements_give_a_traceback(data: bytes) -> None:
    model = Model((), (TensorSpec("x", "FP32", (-1, 4)),), (), 17, Precision.FP32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        for read in (lambda: read_samples(path, model), lambda: read_record(path)):
            try:
                read()
            except PackagerError as error:
                assert error.findings[0].where


CONTENDERS = st.lists(
    st.builds(
        Contender,
        name=st.text("abcdefgh", min_size=1, max_size=4),
        lossless=st.booleans(),
        size=st.integers(1, 5000),
        speedup=st.one_of(st.none(), st.floats(0.01, 20)),
        spread=st.floats(0, 0.5),
    ),
    max_size=8,
    unique_by=lambda contender: contender.name,
)


@given(CONTENDERS, st.sampled_from(Objective), st.randoms(use_true_random=False))
def test_the_choice_is_blind_to_order_and_never_much_worse_than_the_best(
    contenders: list[Contender], objective: Objective, random: object
) -> None:
    source = Contender("source", True, 1000, 1.0)
    choice = choose(source, contenders, objective)
    shuffled = list(contenders)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(source, shuffled, objective) == choice
    gains = {c.name: gain(source, c, objective).times for c in [source, *contenders]}
    assert gains[choice.name] >= max(gains.values()) * 0.85
    assert set(choice.others) | {choice.name} >= {c.name for c in contenders}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=300),
    st.integers(1, 300),
    st.sampled_from((0.5, 0.9, 0.95, 0.99)),
)
def test_looking_at_a_part_first_changes_no_verdict(
    agreeing: list[bool], stop: int, bound: float
) -> None:
    reference = np.tile([[0.0, 1.0]], (len(agreeing), 1))
    candidate = np.where(np.asarray(agreeing)[:, None], reference, reference[:, ::-1])
    budget = QualityBudget(Metric.TOP1_AGREEMENT, bound)
    part = {"y": reference[:stop]}, {"y": candidate[:stop]}
    if hopeless(*part, len(agreeing), budget):
        assert not judge({"y": reference}, {"y": candidate}, budget).passed


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=600), st.integers(1, 600))
def test_the_same_holds_for_tolerances(distances: list[float], stop: int) -> None:
    reference = np.zeros((len(distances), 1))
    candidate = np.asarray(distances)[:, None]
    budget = QualityBudget(Metric.MAX_ABS, 0.9)
    part = {"y": reference[:stop]}, {"y": candidate[:stop]}
    if hopeless(*part, len(distances), budget):
        assert not judge({"y": reference}, {"y": candidate}, budget).passed


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_a_bound_is_below_its_value_and_grows_with_agreement(
    trials: int, data: st.DataObject
) -> None:
    successes = data.draw(st.integers(0, trials))
    bound = share_lower_bound(successes, trials)
    assert 0 <= bound <= successes / trials
    if successes < trials:
        assert bound < share_lower_bound(successes + 1, trials)


@given(st.floats(0.5, 0.9995))
def test_the_number_needed_is_the_smallest_that_proves(share: float) -> None:
    needed = samples_needed(share)
    assert share_lower_bound(needed, needed) >= share - 1e-9
    if needed > 1:
        assert share_lower_bound(needed - 1, needed - 1) < share + 1e-9


AXES = st.fixed_dictionaries(
    {
        "latency": st.one_of(st.none(), st.integers(1, 6)),
        "size": st.integers(1, 6),
        "quality": st.one_of(st.none(), st.integers(1, 6)),
        "throughput": st.integers(1, 6),
    }
)
POINTS = st.lists(AXES, min_size=1, max_size=12).map(
    lambda rows: [Point(f"p{index}", values) for index, values in enumerate(rows)]
)


@settings(max_examples=1000, deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_the_front_holds_no_dominated_point_and_is_blind_to_order(
    points: list[Point], random: object
) -> None:
    front = pareto_front(points)
    by_name = {point.name: point for point in points}
    assert front.names
    assert set(front.names) | set(front.dominated_by) == set(by_name)
    for name in front.names:
        assert not any(dominates(other, by_name[name], front.axes) for other in points)
    for name, by in front.dominated_by.items():
        assert by in front.names
        assert dominates(by_name[by], by_name[name], front.axes)
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert pareto_front(shuffled) == front
