"""What clients get from a real server: metadata, every datatype, JSON, binary and raw."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from runtime_process import Client, RuntimeProcess
from tiny_models import ONNX_TYPES, RuntimeFolder, classifier_answer, tensor

LIMIT = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    golden = {"input.x": x, "output.scores": scores, "output.label": label}
    folder.add_classifier(golden=golden)
    folder.add_classifier(version="10")
    for datatype in ONNX_TYPES:
        folder.add_identity(datatype, [-1, 2])
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


@pytest.fixture
def client(server: RuntimeProcess) -> Iterator[Client]:
    client = server.client()
    yield client
    client.close()


def test_server_metadata(client: Client) -> None:
    status, document = client.get("/v2")
    assert status == 200
    assert document["name"] == "packager-runtime"
    assert "binary_tensor_data" in document["extensions"]
    assert document["release"]["target"] == "de/x86-64-v3/compose"
    assert document["execution_providers"]["classifier/1"] == "CPUExecutionProvider"


def test_health(client: Client) -> None:
    assert client.get("/v2/health/live") == (200, {"live": True})
    assert client.get("/v2/health/ready") == (200, {"ready": True})
    assert client.request("HEAD", "/v2/health/ready")[0] == 200


def test_model_metadata_and_versions(client: Client) -> None:
    status, document = client.get("/v2/models/classifier/versions/1")
    assert status == 200
    assert document["versions"] == ["1", "10"]
    assert document["platform"] == "onnx_onnxv1"
    assert document["inputs"] == [tensor("x", "FP32", [-1, 4])]
    assert [output["name"] for output in document["outputs"]] == ["scores", "label"]
    assert client.get("/v2/models/classifier/ready") == (200, {"name": "classifier", "ready": True})


def test_an_inference_in_json(client: Client) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    scores, label = classifier_answer(x)
    given = {"name": "x", "datatype": "FP32", "shape": [3, 4], "data": x.tolist()}
    status, answer = client.infer("classifier", {"id": "mine", "inputs": [given]})
    assert status == 200
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (
        "classifier",
        "10",
        "mine",
    )
    first, second = answer["outputs"]
    assert (first["name"], first["shape"], first["datatype"]) == ("scores", [3, 3], "FP32")
    assert np.allclose(first["data"], scores.reshape(-1))
    assert second["data"] == label.tolist()


def test_outputs_come_as_asked_and_in_that_order(client: Client) -> None:
    given = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    outputs = [{"name": "label"}, {"name": "scores"}]
    status, answer = client.infer("classifier", {"inputs": [given], "outputs": outputs})
    assert status == 200
    assert [output["name"] for output in answer["outputs"]] == ["label", "scores"]
    outputs = [{"name": "label", "parameters": {"binary_data": True}}]
    status, answer, tail = client.infer_binary(
        "classifier", {"inputs": [given], "outputs": outputs}, []
    )
    assert status == 200
    (label,) = answer["outputs"]
    assert "data" not in label
    assert label["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(tail, "<i8").tolist() == [2]


def test_binary_output_by_default_and_json_by_exception(client: Client) -> None:
    given = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    document = {
        "inputs": [given],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "scores"}, {"name": "label", "parameters": {"binary_data": False}}],
    }
    status, answer, tail = client.infer_binary("classifier", document, [])
    assert status == 200
    assert len(tail) == 12
    assert answer["outputs"][1]["data"] == [2]


PAYLOADS = {
    "BOOL": b"\x01\x00",
    "FP16": np.array([1.5, -2], "<f2").tobytes(),
    "BF16": b"\x80\x3f\x00\xc0",
    "FP32": np.array([np.nan, -np.inf], "<f4").tobytes(),
    "BYTES": b"\x03\x00\x00\x00\xe2\x82\xac\x00\x00\x00\x00",
}


@pytest.mark.parametrize("datatype", ONNX_TYPES)
def test_every_datatype_in_binary(client: Client, datatype: str) -> None:
    size = (
        np.dtype(datatype.lower().replace("fp", "float")).itemsize
        if (datatype not in PAYLOADS)
        else 0
    )
    payload = PAYLOADS.get(datatype) or bytes(range(1, 2 * size + 1))
    given = {
        "name": "x",
        "datatype": datatype,
        "shape": [1, 2],
        "parameters": {"binary_data_size": len(payload)},
    }
    document = {"inputs": [given], "parameters": {"binary_data_output": True}}
    status, answer, tail = client.infer_binary(datatype.lower(), document, [payload])
    assert status == 200, answer
    assert answer["outputs"][0]["datatype"] == datatype
    assert answer["outputs"][0]["shape"] == [1, 2]
    assert tail == payload


def test_half_precision_as_json_is_refused_with_the_way_out(client: Client) -> None:
    given = {
        "name": "x",
        "datatype": "BF16",
        "shape": [1, 2],
        "parameters": {"binary_data_size": 4},
    }
    status, answer, _ = client.infer_binary("bf16", {"inputs": [given]}, [bytes(4)])
    assert status == 400
    assert '"binary_data": true' in answer["error"]


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("BYTES", ["é", "\0"]), ("BOOL", [True, False]), ("UINT64", [0, 2**64 - 1])],
)
def test_json_datatypes(client: Client, datatype: str, data: list[object]) -> None:
    given = {"name": "x", "datatype": datatype, "shape": [1, 2], "data": [data]}
    status, answer = client.infer(datatype.lower(), {"inputs": [given]})
    assert status == 200, answer
    assert answer["outputs"][0]["data"] == data


def test_raw_binary_requests(client: Client) -> None:
    x = np.arange(8, dtype="<f4")
    status, headers, body = client.request(
        "POST",
        "/v2/models/classifier/versions/1/infer",
        x.tobytes(),
        {"Inference-Header-Content-Length": "0"},
    )
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    end = int(headers["inference-header-content-length"])
    scores, label = classifier_answer(x.reshape(2, 4))
    answer = json.loads(body[:end])
    assert [entry["shape"] for entry in answer["outputs"]] == [[2, 3], [2]]
    assert np.allclose(np.frombuffer(body[end : end + 24], "<f4").reshape(2, 3), scores)
    assert np.frombuffer(body[end + 24 :], "<i8").tolist() == label.tolist()


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_packed_bodies(client: Client, encoding: str, pack: object) -> None:
    given = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    body = json.dumps({"inputs": [given]}).encode()
    assert callable(pack)
    status, _, answer = client.request(
        "POST", "/v2/models/classifier/infer", pack(body), {"Content-Encoding": encoding}
    )
    assert status == 200, answer


def raw(server: RuntimeProcess, *pieces: bytes) -> bytes:
    """Write bytes to a socket of our own and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_a_body_far_too_large_is_refused_before_it_is_read(server: RuntimeProcess) -> None:
    head = f"POST /v2/models/classifier/infer HTTP/1.1\r\nContent-Length: {100 * LIMIT}\r\n\r\n"
    answer = raw(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert f"larger than {LIMIT} bytes".encode() in answer


def test_the_sender_of_a_body_somewhat_too_large_hears_why(client: Client) -> None:
    status, _, answer = client.request("POST", "/v2/models/classifier/infer", bytes(LIMIT + 1))
    assert status == 413
    assert json.loads(answer) == {"error": f"the body is larger than {LIMIT} bytes"}
    assert client.get("/v2/health/ready")[0] == 200


def test_a_chunked_body_is_refused_where_it_crosses_the_limit(server: RuntimeProcess) -> None:
    head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = raw(server, head, b"%x\r\n" % (LIMIT + 1) + bytes(LIMIT + 1))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_what_is_not_http_is_refused(server: RuntimeProcess) -> None:
    assert raw(server, b"\x16\x03\x01\x00\xa5hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_client_that_leaves_within_its_body_harms_nobody(server: RuntimeProcess) -> None:
    head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head)
    client = server.client()
    given = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    assert client.infer("classifier", {"inputs": [given]})[0] == 200
    client.close()
