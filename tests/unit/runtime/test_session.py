"""Sessions: external data, and an execution provider that is not the declared one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import RuntimeFolder, identity, tensor

from packager.runtime import configuration, models, session
from packager.runtime.errors import ExitCode, Refusal, RequestError

WEIGHTS = np.arange(1024, dtype=np.float32)


@pytest.fixture
def with_external_data(tmp_path: Path) -> RuntimeFolder:
    """y = x + weights, where the weights lie in a file of their own."""
    made = tmp_path / "made"
    made.mkdir()
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "weights"], ["y"])],
            "external",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1024])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
            [numpy_helper.from_array(WEIGHTS, "weights")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.save_model(model, made / "model.onnx", save_as_external_data=True, location="weights.bin")
    folder = RuntimeFolder(tmp_path / "image")
    entry = folder.add(
        "external",
        (made / "model.onnx").read_bytes(),
        [tensor("x", "FP32", [1024])],
        [tensor("y", "FP32", [1024])],
    )
    weights = (made / "weights.bin").read_bytes()
    assert len(weights) == WEIGHTS.nbytes
    entry["files"].append(folder.file("models/external/1/weights.bin", weights))
    return folder


def load(folder: RuntimeFolder) -> models.Models:
    loaded = configuration.load(folder.write())
    return models.load_all(loaded.folder, loaded.models)


def test_external_data_is_found_beside_the_graph(with_external_data: RuntimeFolder) -> None:
    model = load(with_external_data).find("external", None)
    result = model.session.run({"x": np.ones(1024, np.float32)}, ["y"])
    assert np.array_equal(result["y"], WEIGHTS + 1)


def test_changed_external_data_is_refused(with_external_data: RuntimeFolder) -> None:
    path = with_external_data.path / "models/external/1/weights.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refusal, match=r"weights\.bin: sha256 is"):
        load(with_external_data)


def test_undeclared_external_data_is_refused(with_external_data: RuntimeFolder) -> None:
    with_external_data.document["models"][0]["files"].pop()
    with pytest.raises(Refusal, match=r"weights\.bin: not declared"):
        load(with_external_data)


def test_a_session_on_another_provider_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ONNX Runtime does when a GPU cannot be used, were it not told to fail."""
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()["execution_provider"] = "CUDAExecutionProvider"
    fallen_back = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(session, "_require_offered", lambda settings: None)
    monkeypatch.setattr(session, "_construct", lambda *_: fallen_back)
    with pytest.raises(Refusal, match="but the session runs on CPUExecutionProvider") as refused:
        load(folder)
    assert refused.value.code == ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("shape", "accepted"), [([-1, 3], True), ([-1, -1], True), ([2, 3], False), ([-1], False)]
)
def test_an_output_may_turn_out_narrower_than_declared(
    tmp_path: Path, shape: list[int], accepted: bool
) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()["outputs"][0]["shape"] = shape
    if accepted:
        load(folder)
        return
    with pytest.raises(Refusal, match="outputs of the model are scores FP32"):
        load(folder)


def test_a_failing_inference_is_the_servers_fault_and_a_bad_input_is_not(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    running = load(folder).find("classifier", "1").session
    with pytest.raises(RequestError) as refused:
        running.run({"x": np.ones((1, 5), np.float32)}, ["scores"])
    assert refused.value.status == 400

    class Broken:
        def run(self, *_: object) -> None:
            raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : out\nof memory")

    broken = session.Session(running.settings, "CPUExecutionProvider", Broken(), False)
    with pytest.raises(RequestError, match="inference failed: 6 : RUNTIME_EXCEPTION : out of mem"):
        broken.run({}, ["scores"])


def test_bfloat16_of_several_ranks(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    for rank in (0, 1, 3):
        shape = [-1] * rank
        given, returned = [tensor("x", "BF16", shape)], [tensor("y", "BF16", shape)]
        folder.add(f"rank{rank}", identity("BF16", shape), given, returned)
    loaded = load(folder)
    for rank in (0, 1, 3):
        bits = np.full((2,) * rank, 0x3F80, np.uint16)
        result = loaded.find(f"rank{rank}", None).session.run({"x": bits}, ["y"])["y"]
        assert result.shape == bits.shape
        assert np.array_equal(result, bits)
