"""An error that nobody foresaw, planted where a request is read, where its answer is written and
where that is sent: it ends that request alone, and neither its batch nor its connection waits."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from http2_peer import INFER
from runtime_process import Client, RuntimeProcess
from tiny_models import RuntimeFolder, identity, tensor

from packager.runtime.grpc_service.messages import message

UNREADABLE, UNWRITABLE, UNSENDABLE = 13.0, 14.0, 15.0
PLANTED = """
import gzip, struct, sys
from packager.runtime import answering, responses, requests
from packager.runtime.grpc_service import conversion, inference, known_messages
from packager.runtime.http2 import output

def planted(function, mark, floats):
    def instead(*arguments, **options):
        found = function(*arguments, **options)
        if mark in floats(found, *arguments):
            raise LookupError("planted")
        return found
    return instead

def planted_before(function, mark, floats):
    def instead(*arguments, **options):
        if mark in floats(*arguments):
            raise LookupError("planted")
        return function(*arguments, **options)
    return instead

def of_bytes(data):
    data = gzip.decompress(data) if data[:2] == b"\\x1f\\x8b" else data
    return struct.unpack(f"<{len(data) // 4}f", data[-(len(data) // 4) * 4:] if data else b"")

for module in (conversion, known_messages):
    module.from_binary = planted(module.from_binary, 13.0, lambda array, *_: array)
requests.RequestReader.parse = planted(
    requests.RequestReader.parse, 13.0, lambda request, *_: request.inputs["x"]
)
responses.to_binary = planted(responses.to_binary, 14.0, lambda _, __, array: array)
known_messages.to_binary = planted(known_messages.to_binary, 14.0, lambda _, __, array: array)
output.Output.send = planted_before(
    output.Output.send, 15.0, lambda _, __, head, body, trailers: of_bytes(bytes(body))
)
answering.Answering._head_of = planted_before(
    answering.Answering._head_of, 15.0, lambda _, __, response, *___: of_bytes(response.body)
)
inference._LARGE_ANSWER = 4096
from packager.runtime.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
LARGE = 400
Ask = Callable[[RuntimeProcess, list[np.ndarray], bool], list[np.ndarray | str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    x, y = tensor("x", "FP32", [-1, 4]), tensor("y", "FP32", [-1, 4])
    row = np.arange(8, dtype=np.float32).reshape(2, 4)
    golden = {"input.x": row, "output.y": row}
    for name, rows in (("one", 8), ("many", 8 * LARGE)):
        model = folder.add(name, identity("FP32", [-1, 4]), [x], [y], golden=golden)
        delay = 300_000
        model["batching"] = {"max_batch_size": rows, "max_queue_delay_microseconds": delay}
    folder.document["grpc"] = {"port": 0}
    config = folder.write()
    command = [sys.executable, "-c", PLANTED, "--config", str(config), "--host", "127.0.0.1"]
    with RuntimeProcess(config, command=[*command, "--port", "0"]) as process:
        yield process.wait_ready()
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 8, "a place was still held"
        faults = [line for line in process.log if line["event"] == "fault"]
        assert {line["kind"] for line in faults} == {"LookupError"}
        assert all(line["at"].startswith("<string>:") for line in faults)
        assert "planted" not in str(process.log)


def by_grpc(
    server: RuntimeProcess, arrays: list[np.ndarray], packed: bool
) -> list[np.ndarray | str]:
    """All on one connection."""
    port = next(line["grpc_port"] for line in server.log if "grpc_port" in line)

    def asked(x: np.ndarray) -> bytes:
        request = message("inference.ModelInferRequest")(model_name=model_of(x))
        request.inputs.add(name="x", datatype="FP32", shape=x.shape)
        request.raw_input_contents.append(x.tobytes())
        return bytes(request.SerializeToString())

    compression = grpc.Compression.Gzip if packed else None
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(10)
        call = channel.unary_unary(INFER)
        pending = [call.future(asked(x), timeout=20, compression=compression) for x in arrays]
        return [_outcome(one) for one in pending]


def _outcome(call: grpc.Future) -> np.ndarray | str:
    try:
        found = message("inference.ModelInferResponse").FromString(call.result())
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return np.frombuffer(found.raw_output_contents[0], np.float32).reshape(-1, 4)


def by_rest(
    server: RuntimeProcess, arrays: list[np.ndarray], packed: bool
) -> list[np.ndarray | str]:
    """Each on a connection of its own."""

    def ask(x: np.ndarray) -> np.ndarray | str:
        client = Client(server.port, 20)
        try:
            entry = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
            entry["parameters"] = {"binary_data_size": x.nbytes}
            wanted = [{"name": "y", "parameters": {"binary_data": True}}]
            document = {"inputs": [entry], "outputs": wanted}
            headers = {"Accept-Encoding": "gzip"} if packed else {}
            status, answer, rest = client.infer_binary(
                model_of(x), document, [x.tobytes()], headers
            )
        except (ConnectionError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            client.close()
        return np.frombuffer(rest, np.float32).reshape(-1, 4) if status == 200 else answer["error"]

    with ThreadPoolExecutor(len(arrays)) as pool:
        return list(pool.map(ask, arrays))


def model_of(x: np.ndarray) -> str:
    return "one" if len(x) == 1 else "many"


def rows(value: float, count: int) -> np.ndarray:
    return np.full((count, 4), value, np.float32)


TOLD = {"by_grpc": "INTERNAL: a fault in the server", "by_rest": "a fault in the server"}
NOT_SENT = {"by_grpc": "INTERNAL: ", "by_rest": "RemoteDisconnected"}


@pytest.mark.parametrize("ask", [by_grpc, by_rest], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("count", [1, LARGE])
@pytest.mark.parametrize("mark", [UNREADABLE, UNWRITABLE, UNSENDABLE])
def test_one_of_a_batch(server: RuntimeProcess, ask: Ask, count: int, mark: float) -> None:
    arrays = [rows(mark if place == 3 else place, count) for place in range(8)]
    found = ask(server, arrays, count == LARGE)
    for place, (x, answer) in enumerate(zip(arrays, found, strict=True)):
        if place == 3:
            wanted = (NOT_SENT if mark == UNSENDABLE else TOLD)[ask.__name__]
            assert isinstance(answer, str), answer
            assert answer.startswith(wanted)
        else:
            assert np.array_equal(answer, x), (place, answer)
