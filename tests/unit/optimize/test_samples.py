"""Samples: checked against the signature, split without overlap, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from packager.domain.hardware import Precision
from packager.domain.model import Model, TensorSpec
from packager.errors import InputError
from packager.optimize.reading import read_model
from packager.optimize.samples import GOLDEN_AT_MOST, read_samples, synthetic_samples


@pytest.fixture
def model(mlp: onnx.ModelProto, saved: Callable[..., Path]) -> Model:
    return read_model(saved(mlp))


def _rows(count: int) -> np.ndarray:
    return np.random.RandomState(1).standard_normal((count, 16)).astype(np.float32)


def test_the_parts_are_disjoint_and_cover_all(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, x=_rows(400))
    samples = read_samples(path, model)
    parts = [samples.calibration, samples.evaluation, samples.golden]
    assert sorted(index for part in parts for index in part) == list(range(400))
    assert len(samples.golden) == GOLDEN_AT_MOST
    assert [use.count for use in samples.uses()] == [100, 296, 4]


def test_equal_samples_count_once_and_never_stand_on_both_sides(
    model: Model, tmp_path: Path
) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.concatenate([_rows(40)] * 3))
    samples = read_samples(path, model)
    assert len(samples.calibration + samples.evaluation + samples.golden) == 40


def test_the_split_does_not_depend_on_the_order_of_samples(model: Model, tmp_path: Path) -> None:
    rows = _rows(60)
    np.savez(tmp_path / "a.npz", x=rows)
    np.savez(tmp_path / "b.npz", x=rows[::-1])
    a, b = (read_samples(tmp_path / name, model) for name in ("a.npz", "b.npz"))
    assert a.uses() == b.uses()


def test_all_findings_at_once(tmp_path: Path) -> None:
    specs = (TensorSpec("a", "FP32", (-1, 4)), TensorSpec("b", "INT64", (-1,)))
    three_inputs = Model((), (*specs, TensorSpec("c", "FP32", (-1, 2))), (), 17, Precision.FP32)
    path = tmp_path / "samples.npz"
    np.savez(path, a=np.zeros((3, 5), np.float32), b=np.zeros((3,), np.int32), d=np.zeros(3))
    with pytest.raises(InputError) as caught:
        read_samples(path, three_inputs)
    told = " / ".join(finding.what for finding in caught.value.findings)
    assert "no samples for the input 'c'" in told
    assert "'d' is no input" in told
    assert "'a' have the wrong shape" in told
    assert "'b' have the wrong type" in told


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": np.zeros((0, 16), np.float32)}, "no sample"),
        ({"x": np.full((2, 16), np.nan, np.float32)}, "NaN"),
        ({"x": np.float32(1)}, "wrong shape"),
    ],
)
def test_samples_that_do_not_fit(
    model: Model, tmp_path: Path, arrays: dict[str, np.ndarray], told: str
) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=told):
        read_samples(path, model)


def test_unreadable_files(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(path, model)
    for content in (b"", b"PK\x03\x04", b"nonsense" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            read_samples(path, model)
    np.savez(path, x=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(path, model)
    np.savez(path, x=_rows(50))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(path, model)


def test_a_whole_input_per_sample_and_a_fixed_first_dimension(tmp_path: Path) -> None:
    spec = TensorSpec("x", "FP32", (8, 4))
    fixed = Model((), (spec,), (), 17, Precision.FP32)
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.RandomState(0).rand(5, 8, 4).astype(np.float32))
    assert not read_samples(path, fixed).stackable
    np.savez(path, x=np.zeros((5, 4), np.float32))
    with pytest.raises(InputError, match="wrong shape"):
        read_samples(path, fixed)


def test_what_a_model_declares_is_not_believed_as_far_as_memory_goes() -> None:
    def declared(*shape: int) -> Model:
        return Model((), (TensorSpec("x", "FP32", shape),), (), 17, Precision.FP32)

    assert synthetic_samples(declared(-1, 3, 224, 224), 24, 224).arrays["x"].shape[0] == 24
    assert synthetic_samples(declared(-1, 3, 640, 640), 24).arrays["x"].shape[0] == 24
    assert synthetic_samples(declared(1, 3, 1000, 1000), 24).arrays["x"].shape[0] == 11
    for shape in ((2_000_000, 64), (2**40, 64), (2**62, 2**62), (-1, -1, -1, 10_000)):
        with pytest.raises(InputError, match="too large for samples to be made up"):
            synthetic_samples(declared(*shape), 24, 224)


def test_inputs_that_cannot_be_fed_are_named() -> None:
    model = Model((), (TensorSpec("x", "BF16", (-1, 8)),), (), 21, Precision.BF16)
    with pytest.raises(InputError, match="inputs are BF16"):
        synthetic_samples(model, 24)


def test_synthetic_samples_are_the_same_each_time_and_say_so(model: Model) -> None:
    first, second = synthetic_samples(model, 24), synthetic_samples(model, 24)
    assert first.uses() == second.uses()
    assert all(use.synthetic for use in first.uses())
