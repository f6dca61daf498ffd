"""A matrix of broken requests: each gets 4xx with `{"error"}`, and the server stays ready."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from runtime_process import Client, RuntimeProcess
from tiny_models import RuntimeFolder, adder, lookup, tensor

LIMIT = 1 << 20
HEADER = "Inference-Header-Content-Length"
GOOD = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
BINARY = {
    "name": "x",
    "datatype": "FP32",
    "shape": [1, 4],
    "parameters": {"binary_data_size": 16},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.add_identity("FP16", [-1, 2])
    folder.add_identity("BYTES", [-1])
    folder.add_identity("BOOL", [-1])
    pair = [tensor("a", "FP32", [-1, 2]), tensor("b", "FP32", [-1, 2])]
    folder.add("adder", adder(), pair, [tensor("sum", "FP32", [-1, 2])])
    folder.add("lookup", lookup(), [tensor("id", "INT64", [-1])], [tensor("row", "FP32", [-1, 2])])
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()
        assert process.stop() == 0
        assert process.stderr() == ""


def changed(**fields: object) -> dict[str, object]:
    """A request whose input differs from a good one; None takes a field away."""
    merged = GOOD | fields
    return {"inputs": [{key: value for key, value in merged.items() if value is not None}]}


def classes_of(output: str, count: object) -> dict[str, object]:
    return {
        "inputs": [GOOD],
        "outputs": [{"name": output, "parameters": {"classification": count}}],
    }


JSON_BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "truncated": json.dumps({"inputs": [GOOD]}).encode()[:-5],
    "not UTF-8": b'{"inputs": "\xff"}',
    "UTF-16": json.dumps({"inputs": [GOOD]}).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"inputs": [{"name":"x","datatype":"FP32","shape":[1,4],"data":[NaN,1,1,1]}]}',
    "Infinity": b'{"inputs": [{"name":"x","datatype":"FP32","shape":[1],"data":[Infinity]}]}',
    "1e400": b'{"inputs": [{"name":"x","datatype":"FP32","shape":[1,4],"data":[1e400,1,1,1]}]}',
    "duplicate key": b'{"inputs": [], "inputs": []}',
    "nested without end": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "5000 digits": b'{"inputs": ' + b"9" * 5000 + b"}",
}

DOCUMENTS: dict[str, object] = {
    "no inputs": {},
    "inputs is an object": {"inputs": {}},
    "inputs is empty": {"inputs": []},
    "an input is a number": {"inputs": [1]},
    "input without name": changed(name=None),
    "input with a number as name": changed(name=7),
    "input unknown": changed(name="y"),
    "input twice": {"inputs": [GOOD, GOOD]},
    "datatype missing": changed(datatype=None),
    "datatype wrong": changed(datatype="FP64"),
    "datatype in small letters": changed(datatype="fp32"),
    "shape missing": changed(shape=None),
    "shape is text": changed(shape="1,4"),
    "shape negative": changed(shape=[-1, 4]),
    "shape with a fraction": changed(shape=[1.0, 4]),
    "shape with true": changed(shape=[True, 4]),
    "shape of another rank": changed(shape=[4]),
    "shape against the model": changed(shape=[2, 3], data=[1] * 6),
    "shape immense": changed(shape=[1 << 62, 4]),
    "shape immense and empty": changed(shape=[0, 4], data=[[]] * 3),
    "data missing": changed(data=None),
    "data is a number": changed(data=5),
    "data too short": changed(data=[1, 2, 3]),
    "data too long": changed(data=[1, 2, 3, 4, 5]),
    "data ragged": changed(shape=[2, 4], data=[[1, 2, 3, 4], [1, 2, 3]]),
    "data nested otherwise": changed(data=[[1, 2], [3, 4]]),
    "data of texts": changed(data=["1", "2", "3", "4"]),
    "data of truth values": changed(data=[True, False, True, False]),
    "data with null": changed(data=[1, 2, 3, None]),
    "data with objects": changed(data=[1, 2, 3, {}]),
    "data too large for FP32": changed(data=[1e39, 1, 1, 1]),
    "parameters is a list": changed(parameters=[1]),
    "binary data said, none sent": changed(data=None, parameters={"binary_data_size": 16}),
    "binary data size negative": changed(data=None, parameters={"binary_data_size": -1}),
    "binary data size is text": changed(data=None, parameters={"binary_data_size": "16"}),
    "shared memory": changed(data=None, parameters={"shared_memory_region": "r"}),
    "id is a number": {"id": 1, "inputs": [GOOD]},
    "id with a lone surrogate": {"id": "\ud800", "inputs": [GOOD]},
    "outputs is an object": {"inputs": [GOOD], "outputs": {}},
    "output is text": {"inputs": [GOOD], "outputs": ["scores"]},
    "output unknown": {"inputs": [GOOD], "outputs": [{"name": "nothing"}]},
    "binary_data is a number": {
        "inputs": [GOOD],
        "outputs": [{"name": "label", "parameters": {"binary_data": 1}}],
    },
    "binary_data_output is text": {"inputs": [GOOD], "parameters": {"binary_data_output": "yes"}},
    "classification is text": classes_of("scores", "2"),
    "classification with a fraction": classes_of("scores", 1.5),
    "classification is true": classes_of("scores", True),
    "classification negative": classes_of("scores", -1),
    "classification immense": classes_of("scores", 1 << 80),
}


def with_header(document: object, tail: bytes, length: object = None) -> tuple[bytes, str]:
    head = json.dumps(document).encode()
    return head + tail, str(len(head) if length is None else length)


FRAMES = {
    "JSON longer than the body": with_header({"inputs": [BINARY]}, bytes(16), 9999),
    "JSON cut short": with_header({"inputs": [BINARY]}, bytes(16), 20),
    "length negative": with_header({"inputs": [BINARY]}, bytes(16), -1),
    "length is text": with_header({"inputs": [BINARY]}, bytes(16), "all"),
    "length with 30 digits": with_header({"inputs": [BINARY]}, bytes(16), "9" * 30),
    "binary data too short": with_header({"inputs": [BINARY]}, bytes(15)),
    "binary data too long": with_header({"inputs": [BINARY]}, bytes(17)),
    "binary data for nobody": with_header({"inputs": [GOOD]}, bytes(4)),
    "size against shape": with_header(
        {"inputs": [BINARY | {"shape": [2, 4]}]},
        bytes(16),
    ),
    "data and binary data": with_header({"inputs": [BINARY | {"data": [1] * 4}]}, bytes(16)),
    "raw, no whole row": (bytes(17), "0"),
}

OTHER_MODELS = {
    "FP16 in JSON": ("fp16", {"inputs": [{**GOOD, "datatype": "FP16", "shape": [2, 2]}]}),
    "BYTES from numbers": ("bytes", {"inputs": [{**GOOD, "datatype": "BYTES", "shape": [4]}]}),
    "BOOL from numbers": ("bool", {"inputs": [{**GOOD, "datatype": "BOOL", "shape": [4]}]}),
    "input missing": (
        "adder",
        {"inputs": [{"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]},
    ),
    "id out of range": (
        "lookup",
        {"inputs": [{"name": "id", "datatype": "INT64", "shape": [1], "data": [9]}]},
    ),
    "fraction for an integer": (
        "lookup",
        {"inputs": [{"name": "id", "datatype": "INT64", "shape": [1], "data": [0.5]}]},
    ),
    "integer too large": (
        "lookup",
        {"inputs": [{"name": "id", "datatype": "INT64", "shape": [1], "data": [1 << 63]}]},
    ),
}


def refused(
    server: RuntimeProcess,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    model: str = "classifier",
    status: int = 400,
) -> dict[str, str]:
    """Send it; check that it was refused as it should be, and that the server is still ready."""
    client = server.client()
    path = f"/v2/models/{model}/infer"
    got, found, answer = client.request("POST", path, body, headers)
    assert got == status, answer
    assert found["content-type"] == "application/json"
    document = json.loads(answer)
    assert list(document) == ["error"]
    assert isinstance(document["error"], str)
    assert len(document["error"]) < 1000
    client.close()
    client = server.client()
    assert client.get("/v2/health/ready") == (200, {"ready": True})
    assert client.infer("classifier", {"inputs": [GOOD]})[0] == 200
    client.close()
    return found


@pytest.mark.parametrize("case", JSON_BODIES)
def test_bodies_that_are_no_request(server: RuntimeProcess, case: str) -> None:
    refused(server, JSON_BODIES[case])


@pytest.mark.parametrize("case", DOCUMENTS)
def test_requests_that_do_not_fit(server: RuntimeProcess, case: str) -> None:
    refused(server, json.dumps(DOCUMENTS[case]).encode())


@pytest.mark.parametrize("case", FRAMES)
def test_binary_frames_that_do_not_add_up(server: RuntimeProcess, case: str) -> None:
    body, length = FRAMES[case]
    refused(server, body, {HEADER: length})


@pytest.mark.parametrize("case", OTHER_MODELS)
def test_data_of_the_wrong_kind(server: RuntimeProcess, case: str) -> None:
    model, document = OTHER_MODELS[case]
    refused(server, json.dumps(document).encode(), model=model)


@pytest.mark.parametrize(
    ("body", "length", "model"),
    [
        (b"\x02", "0", "bool"),
        (b"\xff", "0", "bytes"),
        (b"", "0", "adder"),
        (bytes(8), "0", "adder"),
    ],
)
def test_raw_requests_that_do_not_fit(
    server: RuntimeProcess, body: bytes, length: str, model: str
) -> None:
    refused(server, body, {HEADER: length}, model=model)


ENCODED = {
    "gzip that is none": (b"hello", "gzip", 400),
    "gzip cut short": (gzip.compress(bytes(100))[:-3], "gzip", 400),
    "gzip with a tail": (gzip.compress(b"{}") + b"tail", "gzip", 400),
    "gzip with a wrong checksum": (gzip.compress(b"{}")[:-8] + bytes(8), "gzip", 400),
    "deflate that is none": (b"hello", "deflate", 400),
    "deflate of no JSON": (zlib.compress(b"hello"), "deflate", 400),
    "a bomb": (gzip.compress(bytes(64 * LIMIT)), "gzip", 413),
    "brotli": (b"{}", "br", 415),
    "two encodings": (b"{}", "gzip, gzip", 415),
}


@pytest.mark.parametrize("case", ENCODED)
def test_encoded_bodies(server: RuntimeProcess, case: str) -> None:
    body, encoding, status = ENCODED[case]
    found = refused(server, body, {"Content-Encoding": encoding}, status=status)
    if status == 415:
        assert found["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/index.html", 404),
        ("GET", "/v2/health", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/classifier/versions/2", 404),
        ("GET", "/v2/models/classifier/versions", 404),
        ("GET", "/v2/models/classifier/stop", 404),
        ("GET", "/v2/models/..%2F..%2Fserver.json", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/classifier/versions/9/infer", 404),
        ("GET", "/v2/models/classifier/infer", 405),
        ("PUT", "/v2/models/classifier/infer", 405),
        ("POST", "/v2/models/classifier", 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/health/ready", 405),
    ],
)
def test_paths_and_methods(server: RuntimeProcess, method: str, path: str, status: int) -> None:
    client: Client = server.client()
    got, headers, body = client.request(method, path, b"{}" if method == "POST" else None)
    assert got == status
    assert isinstance(json.loads(body)["error"], str)
    if status == 405:
        assert headers["allow"]
    assert client.get("/v2/health/ready")[0] == 200
    client.close()


@pytest.mark.parametrize("path", ["/v1/models/classifier", "/v1/embeddings", "/v1/responses"])
def test_below_v1_an_error_is_what_openais_clients_read(server: RuntimeProcess, path: str) -> None:
    client: Client = server.client()
    status, _, body = client.request("POST", path, b"{}")
    found = json.loads(body)["error"]
    assert (status, found["type"], found["code"]) == (404, "invalid_request_error", 404)
    assert path in found["message"]
    client.close()
