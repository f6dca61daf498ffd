"""The door for models: what comes in, and what is turned away with which words."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from packager.digest import Digest
from packager.domain.hardware import Precision
from packager.domain.model import TensorSpec
from packager.errors import InputError
from packager.optimize.reading import read_model

Saver = Callable[..., Path]


def _refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_model(path)
    for finding in caught.value.findings:
        assert finding.what
        assert finding.where
    return caught.value


def test_a_model_is_read_with_signature_and_digest(mlp: onnx.ModelProto, saved: Saver) -> None:
    path = saved(mlp)
    model = read_model(path)
    assert model.inputs == (TensorSpec("x", "FP32", (-1, 16)),)
    assert model.outputs == (TensorSpec("y", "FP32", (-1, 10)),)
    assert (model.opset, model.precision) == (17, Precision.FP32)
    assert [file.digest for file in model.files] == [Digest.of_file(path)]
    assert model.files[0].name == "model.onnx"


def test_a_folder_with_external_data_is_one_model(mlp: onnx.ModelProto, saved: Saver) -> None:
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = saved(mlp, "folder/model.onnx", **options)
    model = read_model(path.parent)
    assert [file.name for file in model.files] == ["model.onnx", "weights.bin"]
    assert model.size == sum(file.stat().st_size for file in path.parent.iterdir())


def test_missing_and_empty_and_folder_without_model(tmp_path: Path) -> None:
    assert "does not exist" in _refused(tmp_path / "no.onnx").findings[0].what
    empty = tmp_path / "empty.onnx"
    empty.touch()
    assert "empty" in _refused(empty).findings[0].what
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "no ONNX model" in _refused(folder).findings[0].what
    (folder / "model.safetensors").touch()
    assert "export" in str(_refused(folder).findings[0].next_step)
    (folder / "a.onnx").touch()
    (folder / "b.onnx").touch()
    assert _refused(folder).findings[0].got == "a.onnx, b.onnx"


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    assert "not a regular file" in _refused(pipe).findings[0].what
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "nowhere")
    assert "not a regular file" in _refused(link).findings[0].what


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "PNG"),
        (b"%PDF-1.7\n" + bytes(64), "PDF"),
        (pickle.dumps({"weights": [1.0]}), "pickle"),
        (struct.pack("<Q", 60) + b'{"__metadata__":{}}' + bytes(60), "safetensors"),
        (b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'{"not": "a model"}', "JSON"),
        (b"just some words\n", "text"),
        (b"\x08\x08\x12\x07pytorch:\xff\xff\xff", "cut short"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    finding = _refused(path).findings[0]
    assert named in str(finding.got)
    assert finding.next_step


def test_a_pytorch_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    assert "PyTorch" in str(_refused(path).findings[0].got)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_model_is_refused(mlp: onnx.ModelProto, saved: Saver, share: float) -> None:
    path = saved(mlp)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "not a whole ONNX model" in _refused(path).findings[0].what


def test_cut_off_exactly_behind_the_graph(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    cut = onnx.ModelProto()
    cut.CopyFrom(mlp)
    del cut.opset_import[:]
    path = tmp_path / "model.onnx"
    path.write_bytes(cut.SerializeToString())
    assert "opset" in str(_refused(path).findings[0].got)


def test_an_invalid_graph_is_refused_in_one_line(mlp: onnx.ModelProto, tmp_path: Path) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(mlp)
    broken.graph.node[1].input[0] = "nobody makes this"
    path = tmp_path / "model.onnx"
    path.write_bytes(broken.SerializeToString())
    got = str(_refused(path).findings[0].got)
    assert got
    assert "\n" not in got


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../b", ""])
def test_external_data_outside_the_folder_is_refused(
    mlp: onnx.ModelProto, saved: Saver, location: str
) -> None:
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = saved(mlp, **options)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        next(e for e in tensor.external_data if e.key == "location").value = location
    path.write_bytes(proto.SerializeToString())
    assert "plain relative path" in _refused(path).findings[0].what


def test_external_data_through_a_link_missing_or_short(
    mlp: onnx.ModelProto, saved: Saver, tmp_path: Path
) -> None:
    options = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = saved(mlp, "inner/model.onnx", **options)
    weights = path.with_name("weights.bin")
    data = weights.read_bytes()

    weights.write_bytes(data[:100])
    assert "cut short" in _refused(path).findings[0].what
    weights.unlink()
    assert "missing" in _refused(path).findings[0].what
    (tmp_path / "elsewhere.bin").write_bytes(data)
    weights.symlink_to(tmp_path / "elsewhere.bin")
    assert "leads out" in _refused(path).findings[0].what


def test_a_sequence_cannot_be_served(tmp_path: Path) -> None:
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
    sequence = helper.make_sequence_type_proto(inner)
    graph = helper.make_graph(
        [helper.make_node("SequenceLength", ["s"], ["n"])],
        "graph",
        [helper.make_value_info("s", sequence)],
        [helper.make_tensor_value_info("n", TensorProto.INT64, [])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    finding = _refused(path).findings[0]
    assert "Open Inference Protocol" in finding.what
    assert finding.got == "sequence"


def test_an_unreadable_file_says_so(
    mlp: onnx.ModelProto, saved: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(mlp)

    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    assert "Permission denied" in str(_refused(path).findings[0].got)


def test_free_dimensions_and_initializers_listed_as_inputs(
    mlp: onnx.ModelProto, tmp_path: Path
) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(mlp)
    proto.graph.input.append(helper.make_tensor_value_info("w1", TensorProto.FLOAT, [16, 64]))
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    assert [spec.name for spec in read_model(path).inputs] == ["x"]


def test_an_operator_of_the_engine_that_onnx_got_later_is_read(tmp_path: Path) -> None:
    """ONNX Runtime's own fusions write LayerNormalization into models of any opset; ONNX has it
    from opset 17 on. Without this no model of an older one had a fused candidate."""
    nodes = [onnx.helper.make_node("LayerNormalization", ["x", "s"], ["y"])]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 8]) for name in "xy"
    ]
    scale = onnx.numpy_helper.from_array(np.ones(8, np.float32), "s")
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], [scale])
    opsets = [onnx.helper.make_opsetid("", 12)]
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString())
    assert read_model(path).opset == 12
