"""What is not as declared never becomes ready: one line on stderr, and a telling exit code."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engines import shared_library
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, classifier_answer, identity, tensor

X = np.arange(4, dtype=np.float32).reshape(1, 4)
SCORES, LABEL = classifier_answer(X)
GOLDEN = {"input.x": X, "output.scores": SCORES, "output.label": LABEL}


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier(golden=GOLDEN)
    return folder


def refusal(folder: RuntimeFolder, code: int, **options: object) -> str:
    """Start, expect the exit code, no journal line, and one line; returns that line."""
    with RuntimeProcess(folder.write(), **options) as server:  # type: ignore[arg-type]
        assert server.wait() == code
        line = server.stderr()
    assert server.log == []
    assert line.count("\n") == 1
    assert line.startswith("packager-runtime: ")
    return line


def model_file(folder: RuntimeFolder) -> Path:
    return folder.path / "models/classifier/1/model.onnx"


def flip_one_byte(folder: RuntimeFolder) -> None:
    data = bytearray(model_file(folder).read_bytes())
    data[len(data) // 2] ^= 1
    model_file(folder).write_bytes(data)


def append_one_byte(folder: RuntimeFolder) -> None:
    model_file(folder).write_bytes(model_file(folder).read_bytes() + b"\0")


def remove(folder: RuntimeFolder) -> None:
    model_file(folder).unlink()


def link(folder: RuntimeFolder) -> None:
    moved = folder.path / "elsewhere.onnx"
    model_file(folder).rename(moved)
    model_file(folder).symlink_to(moved)


def add_a_file(folder: RuntimeFolder) -> None:
    (model_file(folder).parent / "weights.bin").write_bytes(b"undeclared")


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (flip_one_byte, "models/classifier/1/model.onnx: sha256 is "),
        (append_one_byte, "models/classifier/1/model.onnx: size is "),
        (remove, "models/classifier/1/model.onnx: cannot be read: No such file"),
        (link, "models/classifier/1/model.onnx: not a regular file"),
        (add_a_file, "models/classifier/1/weights.bin: not declared in server.json"),
    ],
)
def test_files_that_are_not_as_declared(
    folder: RuntimeFolder, tamper: Callable[[RuntimeFolder], None], said: str
) -> None:
    tamper(folder)
    assert said in refusal(folder, 65)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add(
        "broken", b"not an ONNX model", [tensor("x", "FP32", [1])], [tensor("y", "FP32", [1])]
    )
    assert "model broken version 1: no session on CPUExecutionProvider" in refusal(folder, 65)


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ([tensor("x", "FP32", [-1, 5])], None, "inputs of the model are x FP32[-1, 4]"),
        ([tensor("x", "FP32", [4])], None, "declared were x FP32[4]"),
        ([tensor("x", "FP64", [-1, 4])], None, "declared were x FP64[-1, 4]"),
        ([tensor("other", "FP32", [-1, 4])], None, "declared were other FP32[-1, 4]"),
        (None, [tensor("scores", "FP32", [-1, 3])], "outputs of the model are scores"),
    ],
)
def test_a_signature_that_is_not_the_declared_one(
    folder: RuntimeFolder, inputs: list[object] | None, outputs: list[object] | None, said: str
) -> None:
    model = folder.document["models"][0]
    model["inputs"] = inputs or model["inputs"]
    model["outputs"] = outputs or model["outputs"]
    assert said in refusal(folder, 65)


def test_an_execution_provider_that_is_not_here(folder: RuntimeFolder) -> None:
    folder.document["models"][0]["execution_provider"] = "CUDAExecutionProvider"
    line = refusal(folder, 69)
    assert "CUDAExecutionProvider is not offered by onnxruntime" in line
    assert "CPUExecutionProvider" in line


def test_libraries_that_are_missing_are_named_all_at_once(folder: RuntimeFolder) -> None:
    folder.document["models"][0]["libraries"] = ["libc.so.6", "libabsent.so.9", "libcuda.so.1"]
    line = refusal(folder, 69)
    assert "CPUExecutionProvider lacks here: libabsent.so.9: cannot open" in line
    assert "libcuda.so.1 (of the GPU's driver" in line
    assert "libc.so.6" not in line


def test_libraries_that_open_are_no_obstacle(folder: RuntimeFolder) -> None:
    folder.document["models"][0]["libraries"] = ["libc.so.6"]
    with RuntimeProcess(folder.write()) as server:
        server.wait_ready()
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("version", "status", "count", "said"),
    [
        (12040, 0, 1, "lacks here: a driver for CUDA 13: this machine's is for CUDA 12"),
        (
            13000,
            100,
            0,
            "lacks here: a GPU: the driver shows none to this process (its status is 1",
        ),
        (13000, 0, 0, "lacks here: a GPU: the driver shows none"),
        (13010, 0, 1, None),
    ],
)
def test_a_driver_that_is_too_old_or_has_no_gpu(
    folder: RuntimeFolder, version: int, status: int, count: int, said: str | None
) -> None:
    library = folder.path / "driver"
    library.mkdir()
    for name, source in {
        "libcudart.so.13": "",
        "libcuda.so.1": f"""
            int cuDriverGetVersion(int *v) {{ *v = {version}; return 0; }}
            int cuInit(unsigned flags) {{ return {status}; }}
            int cuDeviceGetCount(int *n) {{ *n = {count}; return 0; }}
        """,
    }.items():
        shared_library(source, library / name)
    folder.document["models"][0]["libraries"] = ["libcuda.so.1", "libcudart.so.13"]
    environment = {"LD_LIBRARY_PATH": str(library)}
    if said:
        assert said in refusal(folder, 69, environment=environment)
        return
    with RuntimeProcess(folder.write(), environment=environment) as server:
        server.wait_ready()
        assert server.stop() == 0


@pytest.mark.parametrize("name", ["../libc.so", "/lib/libc.so.6", "", 7])
def test_a_library_is_named_by_its_file_name(folder: RuntimeFolder, name: object) -> None:
    folder.document["models"][0]["libraries"] = [name]
    assert "models[0].libraries[0] must be" in refusal(folder, 78)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"output.scores": SCORES + np.float32(0.01)}, "output.scores is off by 0.0"),
        ({"output.scores": SCORES * np.float32("nan")}, "output.scores is off by inf"),
        ({"output.label": LABEL + 1}, "output.label differs in 1 of 1 elements"),
        ({"output.scores": SCORES[:, :2]}, "output.scores has shape [1, 3], expected [1, 2]"),
        ({"output.scores": SCORES.astype(np.float64)}, "output.scores is not FP32"),
        ({"input.x": X.astype(np.int64)}, "input.x is not FP32"),
        ({"input.x": X[0]}, "gives no answer"),
        ({"output.x": X}, "output.x is not a tensor of"),
    ],
)
def test_golden_answers_that_do_not_come(
    tmp_path: Path, changed: dict[str, np.ndarray], said: str
) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier(golden=GOLDEN | changed)
    line = refusal(folder, 65)
    assert "golden self-test models/classifier/1/golden.npz" in line
    assert said in line


def test_an_execution_provider_that_takes_no_node(folder: RuntimeFolder) -> None:
    # Every CPU wheel offers this one, and it runs nothing but its own operators.
    folder.document["models"][0]["execution_provider"] = "AzureExecutionProvider"
    assert "no session on AzureExecutionProvider" in refusal(folder, 69)


def test_golden_answers_that_are_missing(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier(golden={"input.x": X, "output.scores": SCORES})
    assert "output.label is missing" in refusal(folder, 65)


def test_a_golden_file_that_is_none(folder: RuntimeFolder) -> None:
    files = folder.document["models"][0]["files"]
    files[1] = folder.file(files[1]["path"], b"PK\x03\x04 broken")
    assert "not an npz file of plain arrays" in refusal(folder, 65)


def test_golden_answers_within_the_tolerance_are_enough(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier(golden=GOLDEN | {"output.scores": SCORES + np.float32(0.0005)})
    with RuntimeProcess(folder.write()) as server:
        server.wait_ready()
        assert server.stop() == 0


def test_golden_text_and_half_precision(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    for datatype, values in {
        "BYTES": np.array(["é", "longer"]),
        "BF16": np.array([0x3F80, 0x4000], np.uint16),
        "FP16": np.array([1, 2], np.float16),
        "BOOL": np.array([True, False]),
    }.items():
        folder.add(
            datatype.lower(),
            identity(datatype, [-1]),
            [tensor("x", datatype, [-1])],
            [tensor("y", datatype, [-1])],
            golden={"input.x": values, "output.y": values},
        )
    with RuntimeProcess(folder.write()) as server:
        server.wait_ready()
        assert server.stop() == 0


def test_a_region_that_is_not_allowed(folder: RuntimeFolder) -> None:
    line = refusal(folder, 78, environment={"PACKAGER_REGION": "aws/us-east-1"})
    assert "region 'aws/us-east-1' (PACKAGER_REGION)" in line


def test_a_region_that_is_allowed(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write(), environment={"PACKAGER_REGION": "site/lab"}) as server:
        server.wait_ready()
        assert server.stop() == 0


def test_a_configuration_that_is_wrong(folder: RuntimeFolder) -> None:
    folder.document["http"]["port"] = "8080"
    assert "server.json: http.port must be a whole number" in refusal(folder, 78)


def test_an_address_that_is_taken(folder: RuntimeFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refusal(folder, 69, arguments=("--host", "127.0.0.1", "--port", port))
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in line


def test_arguments_that_are_wrong(folder: RuntimeFolder) -> None:
    with RuntimeProcess(folder.write(), arguments=("--prot", "1")) as server:
        assert server.wait() == 2
        assert "unrecognized arguments: --prot" in server.stderr()
