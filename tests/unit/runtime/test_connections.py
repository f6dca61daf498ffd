"""What peers do to a server that is no request at all, or too much of one."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

REQUEST = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.document["http"] |= {
        "header_seconds": 0.5,
        "body_seconds": 0.5,
        "idle_seconds": 1.0,
        "max_connections": 40,
        "max_header_bytes": 4096,
    }
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


def talk(server: RuntimeProcess, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Everything that the server says until it ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        received = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while chunk := connection.recv(65536):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def test_a_head_that_dribbles_in_is_ended(server: RuntimeProcess) -> None:
    began = time.monotonic()
    answer = talk(server, b"GET /v2 HTTP/1.1\r\n", *[b"x: y\r\n"] * 10, pause=0.2)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 4


def test_a_body_that_dribbles_in_is_ended(server: RuntimeProcess) -> None:
    head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n"
    answer = talk(server, head, *[b"{"] * 8, pause=0.2)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body of the request did not come in time" in answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"a: " + b"b" * 600_000 + b"\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    ],
)
def test_a_huge_head_is_refused(server: RuntimeProcess, head: bytes) -> None:
    assert talk(server, head, pause=0.05)[:13] in (b"HTTP/1.1 431 ", b"")


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET /v2 HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
def test_smuggling_and_noise_are_refused(server: RuntimeProcess, request_: bytes) -> None:
    assert talk(server, request_).startswith(b"HTTP/1.1 400 ")


def test_an_idle_connection_is_closed(server: RuntimeProcess) -> None:
    began = time.monotonic()
    assert talk(server) == b""
    assert 0.9 < time.monotonic() - began < 4


def test_pipelined_requests_are_answered_in_their_order(server: RuntimeProcess) -> None:
    requests = (
        b"GET /v2/health/live HTTP/1.1\r\n\r\n"
        b"GET /nothing HTTP/1.1\r\n\r\n"
        b"POST /v2 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /v2/health/ready HTTP/1.1\r\nConnection: close\r\n\r\n"
    )
    answer = talk(server, requests)
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"405", b"200"]


INFER = b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: here\r\n"
# What Java's own client sends with the first request of a connection.
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


def chunked(body: bytes, trailers: bytes = b"") -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (
        len(body),
        body,
        trailers,
    )


@pytest.mark.parametrize("pause", [0.0, 0.05])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_is_read_though_another_protocol_is_asked_for(
    server: RuntimeProcess, in_chunks: bool, pause: float
) -> None:
    body = json.dumps(REQUEST).encode()
    whole = INFER + UPGRADE
    whole += chunked(body) if in_chunks else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    half = len(whole) - 40
    answer = talk(server, *((whole[:half], whole[half:]) if pause else (whole,)), pause=pause)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert answer.count(b"HTTP/1.1") == 1
    large = INFER + UPGRADE + b"Content-Length: 9999999\r\n\r\n" + bytes(2 << 20)
    assert talk(server, large).startswith(b"HTTP/1.1 413 ")


def test_what_follows_a_body_says_nothing_of_it(server: RuntimeProcess) -> None:
    """A trailer must not change what a request means, nor grow for ever."""
    body = json.dumps(REQUEST).encode()
    for field in (b"Inference-Header-Content-Length: 5", b"Content-Encoding: gzip"):
        request = INFER + b"Connection: close\r\n" + chunked(body, field + b"\r\n")
        assert talk(server, request).startswith(b"HTTP/1.1 200 ")
    endless = INFER + chunked(body, b"X: " + bytes(1 << 20).replace(b"\0", b"a"))[:-2]
    assert talk(server, endless).startswith(b"HTTP/1.1 431 ")
    assert talk(server, INFER + chunked(body, b"X: y\r\n" * 200)).startswith(b"HTTP/1.1 431 ")


def test_small_chunks_are_read(server: RuntimeProcess) -> None:
    body = json.dumps(REQUEST).encode() + b" " * 5000
    head = INFER + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert talk(server, head + pieces).startswith(b"HTTP/1.1 200 ")


def test_resets_amid_answers_leave_no_word(server: RuntimeProcess) -> None:
    """asyncio writes a warning to stderr for each write to a peer that is gone."""
    body = json.dumps(REQUEST).encode()
    one = INFER + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            reset = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            connection.sendall(one * 20)
    assert talk(server, one.replace(b"Host", b"Connection: close\r\nHost")).count(b"200 OK") == 1
    assert server.process.stderr
    said, _, _ = select.select([server.process.stderr], [], [], 0)
    assert not said


def test_expect_continue_is_answered_or_refused_before_the_body(server: RuntimeProcess) -> None:
    path = b"POST /v2/models/classifier/infer HTTP/1.1\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(path + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    huge = path + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    assert talk(server, huge).startswith(b"HTTP/1.1 413 ")


def test_an_upgrade_is_ignored_and_the_connection_ends(server: RuntimeProcess) -> None:
    request = b"GET /v2/health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answer = talk(server, request)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer


def test_more_connections_than_allowed_push_out_the_idle_ones(server: RuntimeProcess) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    client = server.client()
    assert client.get("/v2/health/ready") == (200, {"ready": True})
    client.close()
    for connection in idle:
        connection.close()


def test_slow_bodies_keep_nobody_from_being_served(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    folder.document["http"] |= {"max_concurrency": 2}
    head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"
    with RuntimeProcess(folder.write()) as server, contextlib.ExitStack() as stack:
        client = server.wait_ready().client()
        for _ in range(8):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            peer.sendall(head)
        time.sleep(0.2)
        assert client.infer("classifier", REQUEST)[0] == 200
        client.close()


def test_bodies_together_hold_no_more_than_they_may(tmp_path: Path) -> None:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    folder.document["http"] |= {"max_body_bytes": 100_000, "max_held_bytes": 150_000}
    head = b"POST /v2/models/classifier/infer HTTP/1.1\r\nContent-Length: 90001\r\n\r\n"
    with RuntimeProcess(folder.write()) as server:
        client = server.wait_ready().client()
        first = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        first.sendall(head + b" " * 90_000)
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as second:
            second.sendall(head + b" " * 90_000)
            assert b" 503 " in second.recv(65536).partition(b"\r\n")[0]
        assert client.infer("classifier", REQUEST)[0] == 200
        first.close()
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as third:
            third.sendall(head + b" " * 90_001)
            assert b" 400 " in third.recv(65536).partition(b"\r\n")[0]
        client.close()
