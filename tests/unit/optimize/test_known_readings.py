"""A model that was read is known again by its bytes, and by nothing else."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from packager.errors import InputError
from packager.optimize import known_readings
from packager.optimize.known_readings import KnownReadings
from packager.optimize.reading import read_model


@pytest.fixture
def folder(tmp_path):
    """A model whose weights lie beside its graph."""
    weights = numpy_helper.from_array(np.ones((4, 600), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 600])],
        [weights],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path = tmp_path / "model"
    path.mkdir()
    onnx.save(proto, path / "m.onnx", save_as_external_data=True, location="m.data")
    return path


@pytest.fixture
def reads(monkeypatch):
    seen = []
    monkeypatch.setattr(
        known_readings, "read_model", lambda path: seen.append(path) or read_model(path)
    )
    return seen


def test_the_second_reading_is_the_first_without_parsing(folder, tmp_path, reads):
    readings = KnownReadings(tmp_path / "readings")
    first = readings.read(folder)
    assert first == read_model(folder)
    assert readings.read(folder) == first
    assert readings.read(folder / "m.onnx") == first
    assert reads == [folder]


def test_a_copy_elsewhere_and_by_another_name_is_known_and_lies_where_it_lies(
    folder, tmp_path, reads
):
    readings = KnownReadings(tmp_path / "readings")
    readings.read(folder)
    other = tmp_path / "other"
    folder.rename(other)
    (other / "m.onnx").rename(other / "n.onnx")
    assert readings.read(other) == read_model(other)
    assert len(reads) == 1


@pytest.mark.parametrize("harm", ["graph", "weights", "link", "gone"])
def test_other_bytes_are_read_anew(folder, tmp_path, reads, harm):
    readings = KnownReadings(tmp_path / "readings")
    readings.read(folder)
    data = folder / "m.data"
    match harm:
        case "graph":
            proto = onnx.load(folder / "m.onnx", load_external_data=False)
            proto.doc_string = "another"
            onnx.save(proto, folder / "m.onnx")
        case "weights":
            data.write_bytes(bytes(reversed(data.read_bytes())))
            os.utime(data, ns=(1, 1))
        case "link":
            data.rename(tmp_path / "outside")
            data.symlink_to(tmp_path / "outside")
        case "gone":
            data.unlink()
    if harm in ("link", "gone"):
        with pytest.raises(InputError):
            readings.read(folder)
    else:
        assert readings.read(folder) == read_model(folder)
    assert len(reads) == 2


@pytest.mark.parametrize("spoil", ["cut", "other model"])
def test_a_spoilt_entry_is_none(folder, tmp_path, reads, spoil):
    readings = KnownReadings(tmp_path / "readings")
    first = readings.read(folder)
    (entry,) = (tmp_path / "readings").iterdir()
    if spoil == "cut":
        entry.write_bytes(entry.read_bytes()[:-20])
    else:
        kept = json.loads(entry.read_bytes())
        entry.write_text(json.dumps(kept | {"model": kept["model"].replace("MatMul", "Gemm")}))
    assert readings.read(folder) == first
    assert len(reads) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(folder, tmp_path):
    (tmp_path / "readings").write_text("a file where the folder should be")
    assert KnownReadings(tmp_path / "readings").read(folder) == read_model(folder)
