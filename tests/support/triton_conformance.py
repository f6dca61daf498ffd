"""What stock `tritonclient` makes of a server: `triton_conformance.py http|grpc HOST:PORT`.

Prints one JSON object: name of each check → "ok" or what went wrong. It runs in a process of its
own and knows nothing of ours, so that it can be pointed at a real Triton as well.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

kind, address = sys.argv[1:3]
if kind == "http":
    import tritonclient.http as client_module
else:
    import tritonclient.grpc as client_module
from tritonclient.utils import InferenceServerException, np_to_triton_dtype  # noqa: E402

client: Any = client_module.InferenceServerClient(address)
results: dict[str, str] = {}


def check(function: Callable[[], None]) -> None:
    """Run one check and keep its outcome."""
    try:
        function()
        results[function.__name__] = "ok"
    except Exception:
        results[function.__name__] = traceback.format_exc(limit=-3)


def infer(model: str, x: np.ndarray, datatype: str | None = None, **more: Any) -> Any:
    """One input named x."""
    binary = {} if kind == "grpc" else {"binary_data": more.pop("binary_in", True)}
    given = client_module.InferInput("x", x.shape, datatype or np_to_triton_dtype(x.dtype))
    given.set_data_from_numpy(x, **binary)
    return client.infer(model, [given], **more)


@check
def live_and_ready() -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("classifier")
    assert client.is_model_ready("classifier", "1")


@check
def an_unknown_model_is_not_ready() -> None:
    try:
        assert not client.is_model_ready("none")
    except InferenceServerException:
        return


@check
def metadata() -> None:
    server = client.get_server_metadata()
    name = server["name"] if kind == "http" else server.name
    assert name
    model = client.get_model_metadata("classifier")
    inputs = model["inputs"] if kind == "http" else model.inputs
    shape = inputs[0]["shape"] if kind == "http" else list(inputs[0].shape)
    assert [int(size) for size in shape] == [-1, 4]


@check
def configuration() -> None:
    config = client.get_model_config("classifier")
    if kind == "http":
        assert config["input"][0]["data_type"] == "TYPE_FP32"
    else:
        assert config.config.input[0].data_type == 11
        # The wheel of Triton that this is held against has no ONNX backend.
        assert config.config.backend in ("onnxruntime", "python")


@check
def statistics() -> None:
    infer("classifier", np.ones((1, 4), np.float32))
    found = client.get_inference_statistics("classifier")
    if kind == "http":
        assert found["model_stats"][0]["inference_count"] >= 1
    else:
        assert found.model_stats[0].inference_count >= 1
        assert found.model_stats[0].inference_stats.success.ns > 0


@check
def repository_index() -> None:
    found = client.get_model_repository_index()
    names = [m["name"] for m in found] if kind == "http" else [m.name for m in found.models]
    assert "classifier" in names


@check
def inference() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    answer = infer("classifier", x, request_id="7")
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    expected = np.maximum(x @ weights + np.array([0.5, -0.25, 0.125], np.float32), 0)
    assert np.allclose(answer.as_numpy("scores"), expected, atol=1e-5)
    assert answer.as_numpy("label").dtype == np.int64
    response = answer.get_response()
    assert (response["id"] if kind == "http" else response.id) == "7"


@check
def chosen_outputs() -> None:
    wanted = [client_module.InferRequestedOutput("label")]
    answer = infer("classifier", np.ones((2, 4), np.float32), outputs=wanted)
    assert answer.as_numpy("label").shape == (2,)
    assert answer.as_numpy("scores") is None


@check
def classes_of_an_output() -> None:
    wanted = [client_module.InferRequestedOutput("scores", class_count=2)]
    answer = infer("classifier", np.ones((1, 4), np.float32), outputs=wanted)
    best = answer.as_numpy("scores").ravel().tolist()
    assert [one.split(b":")[1] for one in best] == [b"2", b"0"], best
    assert np.allclose([float(one.split(b":")[0]) for one in best], [2.725, 2.3]), best


@check
def an_output_twice() -> None:
    wanted = [client_module.InferRequestedOutput("label")] * 2
    answer = infer("classifier", np.ones((2, 4), np.float32), outputs=wanted)
    response = answer.get_response()
    assert len(response["outputs"] if kind == "http" else response.outputs) == 1


@check
def asynchronous() -> None:
    x = np.ones((1, 4), np.float32)
    given = client_module.InferInput("x", x.shape, "FP32")
    given.set_data_from_numpy(x)
    if kind == "http":
        pending = [client.async_infer("classifier", [given]) for _ in range(5)]
        answers = [one.get_result() for one in pending]
    else:
        import queue

        done: queue.Queue[Any] = queue.Queue()
        for _ in range(5):
            client.async_infer(
                "classifier", [given], lambda result, error: done.put((result, error))
            )
        pairs = [done.get(timeout=10) for _ in range(5)]
        assert all(error is None for _, error in pairs)
        answers = [result for result, _ in pairs]
    assert all(answer.as_numpy("scores").shape == (1, 3) for answer in answers)


@check
def every_datatype() -> None:
    for dtype in [
        "bool",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "int8",
        "int16",
        "int32",
        "int64",
        "float16",
        "float32",
        "float64",
    ]:
        x = np.array([[0, 1], [1, 0]]).astype(dtype)
        name = np_to_triton_dtype(x.dtype)
        assert np.array_equal(infer(name.lower(), x).as_numpy("y"), x), dtype
    x = np.array([["é", "b"], ["", "d"]], dtype=object)
    found = infer("bytes", x, "BYTES").as_numpy("y")
    assert [one.decode() for one in found.ravel()] == ["é", "b", "", "d"]


@check
def errors_are_told() -> None:
    for model, x, text in (
        ("none", np.ones((1, 4), np.float32), "none"),
        ("classifier", np.ones((1, 5), np.float32), "shape"),
        ("classifier", np.ones((1, 4), np.int32), "datatype"),
    ):
        try:
            infer(model, x)
        except InferenceServerException as error:
            assert text in str(error).replace("data-type", "datatype"), str(error)
        else:
            raise AssertionError(f"{model} {x.shape} {x.dtype} was answered")


if kind == "http":

    @check
    def json_in_and_out() -> None:
        wanted = [client_module.InferRequestedOutput("scores", binary_data=False)]
        x = np.ones((2, 4), np.float32)
        answer = infer("classifier", x, binary_in=False, outputs=wanted)
        assert answer.as_numpy("scores").shape == (2, 3)

    @check
    def packed_both_ways() -> None:
        for coding in ("gzip", "deflate"):
            answer = infer(
                "classifier",
                np.ones((300, 4), np.float32),
                request_compression_algorithm=coding,
                response_compression_algorithm=coding,
            )
            assert answer.as_numpy("scores").shape == (300, 3)

else:

    @check
    def a_deadline() -> None:
        try:
            infer("slow", np.ones((1, 4), np.float32), client_timeout=0.05)
        except InferenceServerException as error:
            assert "DEADLINE" in str(error).upper() or "UNAVAILABLE" in str(error), str(error)
        else:
            raise AssertionError("answered too late")

    @check
    def health() -> None:
        import grpc

        channel = grpc.insecure_channel(address)
        call = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert call(b"") == b"\x08\x01"
        assert call(b"\x0a\x1einference.GRPCInferenceService") == b"\x08\x01"
        channel.close()

    @check
    def health_in_full() -> None:
        import grpc

        channel = grpc.insecure_channel(address)
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert next(watch) == b"\x08\x01"
        watch.cancel()
        try:
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\x04none")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND
        else:
            raise AssertionError("an unknown service is healthy")
        channel.close()


client.close()
print(json.dumps(results))
