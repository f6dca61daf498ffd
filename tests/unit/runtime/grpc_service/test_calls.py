"""The gRPC port as gRPC's own client sees it, and what a call leaves in journal and figures."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from certificates import Authority
from http2_peer import INFER, LIVE, Http2Peer
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, spinner, tensor

from packager.runtime.grpc_service.messages import message
from packager.runtime.grpc_service.status import percent_encoded, timeout_of
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import rst_stream

Request, Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")
WATCH = "/grpc.health.v1.Health/Watch"
LIMIT = 8 << 20


def made(path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(path)
    folder.add_classifier()
    folder.add_identity("FP32", [-1, 4])
    x, y = tensor("x", "FP32", [-1, 4]), tensor("y", "FP32", [-1, 4])
    folder.add("slow", spinner(150_000), [x], [y])
    folder.document["grpc"] = {"port": 0}
    folder.document["http"] |= {"max_body_bytes": LIMIT, "drain_seconds": 5}
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    with RuntimeProcess(made(tmp_path_factory.mktemp("image")).write()) as process:
        yield process.wait_ready()
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


@pytest.fixture
def channel(server: RuntimeProcess) -> Iterator[grpc.Channel]:
    options = (("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
    with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}", options) as channel:
        yield channel


def port_of(server: RuntimeProcess) -> int:
    return next(int(line["grpc_port"]) for line in server.log if "grpc_port" in line)


def asked(model: str, x: np.ndarray, **more: Any) -> bytes:
    request = Request(model_name=model, **more)
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    request.raw_input_contents.append(x.astype(np.float32).tobytes())
    return bytes(request.SerializeToString())


def infer(channel: grpc.Channel, model: str, x: np.ndarray, **options: Any) -> np.ndarray:
    data = channel.unary_unary(INFER)(asked(model, x), timeout=30, **options)
    found = Response.FromString(data)
    return np.frombuffer(found.raw_output_contents[0], np.float32).reshape(x.shape)


def refused(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code().name, error.value.details()


def test_errors_are_what_they_were(channel: grpc.Channel) -> None:
    """Codes and texts, as users and their dashboards know them."""
    call = channel.unary_unary(INFER)
    one = np.ones((1, 4), np.float32)
    found = {
        "bytes": refused(lambda: call(b"\xff", timeout=10)),
        "model": refused(lambda: call(asked("none", one), timeout=10)),
        "version": refused(lambda: call(asked("fp32", one, model_version="9"), timeout=10)),
        "shape": refused(lambda: call(asked("fp32", np.ones((1, 5))), timeout=10)),
        "call": refused(lambda: channel.unary_unary("/a.B/C")(b"", timeout=10)),
        "service": refused(
            lambda: channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\x01x", timeout=10)
        ),
        "size": refused(lambda: call(bytes(LIMIT + 1), timeout=10)),
        "unpacked": refused(
            lambda: call(bytes(LIMIT + 1), timeout=10, compression=grpc.Compression.Gzip)
        ),
    }
    assert found == {
        "bytes": ("INVALID_ARGUMENT", "this is not the message of the call"),
        "model": ("NOT_FOUND", "there is no model 'none'"),
        "version": ("NOT_FOUND", "model 'fp32' has no version '9'"),
        "shape": (
            "INVALID_ARGUMENT",
            "input 'x' must have shape [-1, 4], where -1 is free; got '[1, 5]'",
        ),
        "call": ("UNIMPLEMENTED", "this server has no such call"),
        "service": ("NOT_FOUND", "this server has no such service"),
        "size": ("RESOURCE_EXHAUSTED", f"the body is larger than {LIMIT} bytes"),
        "unpacked": ("RESOURCE_EXHAUSTED", f"the body is larger than {LIMIT} bytes"),
    }


def test_a_model_that_is_not_here_is_not_ready(channel: grpc.Channel) -> None:
    """tritonclient's `is_model_ready` says False, as with Triton, and raises nothing."""
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
    ready = message("inference.ModelReadyResponse")
    for name, version, wanted in (("fp32", "", True), ("fp32", "9", False), ("none", "", False)):
        asked = message("inference.ModelReadyRequest")(name=name, version=version)
        answer = ready.FromString(call(asked.SerializeToString(), timeout=10))
        assert answer.ready is wanted


def test_a_tensor_that_is_not_there_is_told_which_are(channel: grpc.Channel) -> None:
    request = Request(model_name="fp32")
    request.inputs.add(name="images", datatype="FP32", shape=[1, 4])
    call = channel.unary_unary(INFER)
    code, details = refused(lambda: call(request.SerializeToString(), timeout=10))
    assert (code, details) == ("INVALID_ARGUMENT", "the model has no input 'images'; it has 'x'")


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=lambda one: one.name)
def test_compressed_messages(channel: grpc.Channel, compression: grpc.Compression) -> None:
    x = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    assert np.array_equal(infer(channel, "fp32", x, compression=compression), x)


@pytest.mark.parametrize("rows", [0, 1, 5000, LIMIT // 16 - 20])
def test_messages_of_every_size(channel: grpc.Channel, rows: int) -> None:
    """Larger than a frame, and than the windows of either side."""
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    for _ in range(2):
        assert np.array_equal(infer(channel, "fp32", x), x)


def test_many_calls_on_one_connection(channel: grpc.Channel) -> None:
    call = channel.unary_unary(INFER)
    rng = np.random.default_rng(7)
    sent = [rng.random((n % 7 + 1, 4), np.float32) for n in range(400)]
    pending = [call.future(asked("fp32", x, id=str(n)), timeout=60) for n, x in enumerate(sent)]
    cancelled = {n for n in range(0, 400, 10) if pending[n].cancel()}
    for number, (x, one) in enumerate(zip(sent, pending, strict=True)):
        if number not in cancelled:
            found = Response.FromString(one.result())
            assert found.id == str(number)
            assert (
                np.frombuffer(found.raw_output_contents[0], np.float32).tolist()
                == x.ravel().tolist()
            )


def test_a_call_that_is_cancelled_leaves_the_queue(
    channel: grpc.Channel, server: RuntimeProcess
) -> None:
    call, x = channel.unary_unary(INFER), np.ones((1, 4), np.float32)
    pending = [call.future(asked("slow", x), timeout=60) for _ in range(12)]
    time.sleep(0.05)
    for one in pending[1:]:
        one.cancel()
    began = time.monotonic()
    pending[0].result()
    client = server.client()
    while b'nv_inference_pending_request_count{model="slow",version="1"} 0' not in (
        page := client.request("GET", "/metrics")[2]
    ):
        assert time.monotonic() - began < 10, page
        time.sleep(0.02)
    assert b'packager_http_responses_total{status="499"}' in page
    client.close()


def test_deadlines(channel: grpc.Channel) -> None:
    x = np.ones((1, 4), np.float32)
    call = channel.unary_unary(INFER)
    # The server says at once that it cannot be in time, or time is over.
    said = {refused(lambda: call(asked("slow", x), timeout=0.01))[0] for _ in range(3)}
    assert said == {"DEADLINE_EXCEEDED"}
    assert infer(channel, "fp32", x).tolist() == x.tolist()


def test_a_deadline_that_has_passed_is_told_by_the_server(server: RuntimeProcess) -> None:
    x = np.ones((1, 4), np.float32)
    with Http2Peer(port_of(server)) as peer:
        peer.send(*(peer.call(stream, asked("slow", x), INFER) for stream in range(1, 9, 2)))
        peer.send(peer.call(9, asked("slow", x), INFER, grpc_timeout="60m"))
        fields, _ = peer.answer(9)
        assert fields["grpc-status"] == "4"
        assert "retry-after" not in fields
        peer.send(peer.call(11, b"", LIVE, grpc_timeout="soon"))
        assert peer.answer(11)[0]["grpc-status"] == "3"
        peer.send(*(rst_stream(stream, ErrorCode.CANCEL) for stream in range(1, 9, 2)))


def test_whose_deadline_it_was(server: RuntimeProcess) -> None:
    """The caller's own is DEADLINE_EXCEEDED, before it has passed too, when it cannot be met; that
    of the queue is UNAVAILABLE, as Triton says it, and worth another try."""
    x = np.ones((1, 4), np.float32)
    given = Request.FromString(asked("slow", x))
    given.parameters["timeout"].int64_param = 2000
    in_the_message = given.SerializeToString()
    with Http2Peer(port_of(server)) as peer:
        peer.send(peer.call(1, asked("slow", x), INFER))
        assert peer.answer(1)[0]["grpc-status"] == "0"  # the server knows how long it takes
        peer.send(*(peer.call(stream, asked("slow", x), INFER) for stream in (3, 5, 7)))
        for stream, message_, fields, status in (
            (9, asked("slow", x), {"grpc_timeout": "2m"}, "4"),
            (11, in_the_message, {}, "14"),
            (13, in_the_message, {"grpc_timeout": "30S"}, "14"),
            (15, in_the_message, {"grpc_timeout": "1m"}, "4"),
            (17, asked("slow", x), {"grpc_timeout": "0n"}, "4"),
        ):
            began = time.monotonic()
            peer.send(peer.call(stream, message_, INFER, **fields))
            found, _ = peer.answer(stream)
            assert found["grpc-status"] == status, (stream, found)
            assert ("retry-after" in found) == (status == "14")
            assert time.monotonic() - began < 5
        peer.send(*(rst_stream(stream, ErrorCode.CANCEL) for stream in (3, 5, 7)))


def test_keep_alive_pings(server: RuntimeProcess) -> None:
    options = (
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 2000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}", options) as channel:
        infer(channel, "fp32", np.ones((1, 4)))
        time.sleep(1)
        infer(channel, "fp32", np.ones((1, 4)))


def test_what_a_call_leaves(channel: grpc.Channel, server: RuntimeProcess) -> None:
    """The same line as a request over REST, and not a byte of it."""
    data = asked("fp32", np.full((1, 4), 0.123, np.float32))
    answer = channel.unary_unary(INFER)(data, timeout=10)
    while True:
        line = server.wait_event("request")
        if (line["bytes_in"], line["bytes_out"]) == (len(data), len(answer)):
            break
    assert set(line) == {"time", "event", "id", "status", "bytes_in", "bytes_out", "ms"}
    statistics = channel.unary_unary("/inference.GRPCInferenceService/ModelStatistics")
    found = message("inference.ModelStatisticsResponse").FromString(statistics(b"\x0a\x04fp32"))
    assert found.model_stats[0].inference_stats.success.count > 0
    assert found.model_stats[0].inference_stats.compute_input.ns > 0


def test_what_is_no_grpc(server: RuntimeProcess) -> None:
    with Http2Peer(port_of(server)) as peer:
        fields = peer.head(LIVE)
        peer.send(peer.headers(1, [*fields[:-1], ("content-type", "text/plain")], end=True))
        assert peer.answer(1)[0][":status"] == "415"
        peer.send(peer.headers(3, [(":method", "GET"), *fields[1:]], end=True))
        assert peer.answer(3)[0][":status"] == "415"
        for stream, frames_ in ((5, b""), (7, bytes(4)), (9, b"\2" + bytes(4)), (11, bytes(10))):
            head = peer.headers(stream, peer.head(LIVE))
            peer.send(head, len(frames_).to_bytes(3, "big") + b"\0\1" + stream.to_bytes(4, "big"))
            peer.send(frames_)
            found = peer.answer(stream)[0]
            assert (found["grpc-status"], found["grpc-message"]) == (
                "3", "the call takes exactly one message",
            )  # fmt: skip
        peer.send(peer.headers(13, peer.head(LIVE, grpc_encoding="snappy")))
        peer.send(b"\0\0\6\0\1\0\0\0\x0d\1\0\0\0\1x")
        found = peer.answer(13)[0]
        assert (found["grpc-status"], found["grpc-accept-encoding"]) == (
            "12", "identity,deflate,gzip",
        )  # fmt: skip


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server: RuntimeProcess, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(5))
    done = subprocess.run(
        [
            *("curl", "--silent", "--http2-prior-knowledge", "--include", "--data-binary"),
            *(f"@{body}", "-H", "content-type: application/grpc", "-H", "te: trailers"),
            f"http://127.0.0.1:{port_of(server)}{LIVE}",
        ],
        capture_output=True, check=True, timeout=20,
    )  # fmt: skip
    assert done.stdout.startswith(b"HTTP/2 200")
    assert b"\0\0\0\0\2\x08\1" in done.stdout
    assert b"grpc-status: 0" in done.stdout


def test_keys_and_traces_and_records(tmp_path: Path) -> None:
    keys, traces, audit = tmp_path / "keys", tmp_path / "traces", tmp_path / "audit"
    keys.write_text(f"clinic {hashlib.sha256(b's3cret').hexdigest()}\n")
    audit.mkdir()
    environment = {
        "PACKAGER_API_KEYS_FILE": str(keys),
        "PACKAGER_TRACES_DIR": str(traces),
        "PACKAGER_AUDIT_DIR": str(audit),
    }
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    x = np.ones((1, 4), np.float32)
    with RuntimeProcess(made(tmp_path / "image").write(), environment=environment) as server:
        server.wait_ready()
        with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}") as channel:
            call = channel.unary_unary(INFER)
            assert refused(lambda: call(asked("fp32", x), timeout=10)) == (
                "UNAUTHENTICATED",
                "a known key is needed, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
            )
            channel.unary_unary(LIVE)(b"", timeout=10)
            known = (("x-api-key", "s3cret"), ("traceparent", parent))
            call(asked("fp32", x), timeout=10, metadata=known)
            call(asked("fp32", x), timeout=10, metadata=(("authorization", "Bearer s3cret"),))
        assert server.stop() == 0
        assert "s3cret" not in json.dumps(server.log) + server.stderr()
    spans = [json.loads(line) for line in (traces / "traces.jsonl").read_text().splitlines()]
    found = [
        span
        for line in spans
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]
        if span.get("parentSpanId") == "b7ad6b7169203331"
    ]
    assert [span["traceId"] for span in found] == [parent[3:35]]
    assert found[0]["name"] == f"POST {INFER}"
    recorded = "".join(file.read_text() for file in audit.iterdir() if file.is_file())
    assert recorded.count('"caller":"clinic"') == 2
    assert '"model":"fp32"' in recorded


def test_certificates_both_ways_and_changed_while_it_runs(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "another authority")
    certificate, private = authority.issue("server")
    mine, my_key = authority.issue("clinic")
    alien, alien_key = other.issue("alien")
    environment = {
        "PACKAGER_TLS_CERTIFICATE_FILE": str(certificate),
        "PACKAGER_TLS_KEY_FILE": str(private),
        "PACKAGER_TLS_CLIENT_CA_FILE": str(authority.certificate),
        "PACKAGER_AUDIT_DIR": str(tmp_path),
    }
    x = np.ones((1, 4), np.float32)

    def ask(roots: Authority, *pair: Path) -> str:
        key, chain = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
        credentials = grpc.ssl_channel_credentials(roots.certificate.read_bytes(), key, chain)
        with grpc.secure_channel(f"127.0.0.1:{port_of(server)}", credentials) as channel:
            try:
                infer(channel, "fp32", x)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    with RuntimeProcess(made(tmp_path / "image").write(), environment=environment) as server:
        server.wait_ready()
        assert ask(authority, mine, my_key) == "OK"
        assert ask(authority) == "UNAVAILABLE"
        assert ask(authority, alien, alien_key) == "UNAVAILABLE"
        assert ask(other, mine, my_key) == "UNAVAILABLE"
        other.issue("server", "server")
        assert server.wait_event("reloaded", 10)["what"] == "tls"
        assert ask(authority, mine, my_key) == "UNAVAILABLE"
        assert ask(other, mine, my_key) == "OK"
        assert server.stop() == 0
    recorded = "".join(file.read_text() for file in tmp_path.glob("*.jsonl"))
    assert '"caller":"cert:clinic"' in recorded


def test_nobody_is_lost_when_the_server_leaves(tmp_path: Path) -> None:
    x = np.ones((1, 4), np.float32)
    with RuntimeProcess(made(tmp_path).write()) as server:
        server.wait_ready()
        address = f"127.0.0.1:{port_of(server)}"
        options = (("grpc.use_local_subchannel_pool", 1),)
        served: set[int] = set()

        def client(number: int) -> list[str]:
            told = []
            with grpc.insecure_channel(address, options) as channel:
                while not told or told[-1] == "OK":
                    try:
                        infer(channel, "fp32", x)
                        told.append("OK")
                        served.add(number)
                    except grpc.RpcError as error:
                        told.append(f"{error.code().name} {error.details()}")
            return told

        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            pending = [clients.submit(client, number) for number in range(8)]
            while len(served) < len(pending) and not any(one.done() for one in pending):
                time.sleep(0.01)
            server.signal(signal.SIGTERM)
            ends = [one.result() for one in pending]
        assert server.wait() == 0
        # Each was served until nobody listened any more: it was never cut off.
        assert all(len(told) > 1 for told in ends)
        assert {told[-1].partition(":")[0] for told in ends} == {
            "UNAVAILABLE failed to connect to all addresses; last error"
        }
        asked_ = [line for line in server.log if line["event"] == "request"]
        assert sum(len(told) - 1 for told in ends) == len(asked_)
        assert {line["status"] for line in asked_} == {200}


def test_who_watches_hears_of_the_end(tmp_path: Path) -> None:
    with RuntimeProcess(made(tmp_path).write()) as server:
        server.wait_ready()
        with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}") as channel:
            watch = channel.unary_stream(WATCH)(b"", timeout=30)
            assert next(watch) == b"\x08\x01"
            unknown = channel.unary_stream(WATCH)(b"\x0a\x04none", timeout=30)
            assert next(unknown) == b"\x08\x03"
            unknown.cancel()
            server.signal(signal.SIGTERM)
            told: list[object] = []
            try:
                told.extend(watch)
            except grpc.RpcError as error:
                told.append(error.code().name)
            assert told[-1] == "UNAVAILABLE"
        assert server.wait() == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [("plain", b"plain"), ("50 %", b"50 %25"), ("é\n", b"%C3%A9%0A"), ("\ud800", b"?")],
)
def test_percent_encoding(text: str, told: bytes) -> None:
    assert percent_encoded(text) == told


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"4m", 0.004),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
    ],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    assert timeout_of(text) == pytest.approx(seconds)
