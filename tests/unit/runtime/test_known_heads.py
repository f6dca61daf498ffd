"""Requests that begin as the one before do, on connections of the real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.exchange import Exchange
from packager.runtime.known_heads import KnownHeads

HEAD = b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.document["http"] |= {"max_body_bytes": 4096}
    with RuntimeProcess(folder.write()) as process:
        yield process.wait_ready()


@pytest.fixture
def connection(server: RuntimeProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
        yield opened


def body(value: int, name: str = "x") -> bytes:
    given = {"name": name, "datatype": "FP32", "shape": [1, 4], "data": [value, 1, 2, 3]}
    return json.dumps({"inputs": [given]}).encode()


def request(value: int, name: str = "x") -> bytes:
    text = body(value, name)
    return HEAD % len(text) + text


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, rest = received.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(rest) < size:
        rest += connection.recv(65536)
    assert len(rest) == size
    return int(head.split()[1]), json.loads(rest)


def test_the_same_head_again_and_again(connection: socket.socket) -> None:
    answers = []
    for value in (1, 2, 1, 2, 1):
        connection.sendall(request(value))
        status, said = answer(connection)
        assert status == 200
        answers.append(said)
    assert answers[0] == answers[2] == answers[4]
    assert answers[1] == answers[3] != answers[0]


def test_one_that_comes_in_pieces_after_one_that_came_whole(connection: socket.socket) -> None:
    connection.sendall(request(1))
    first = answer(connection)
    for cut in (1, 10, len(HEAD) - 3, len(request(1)) - 1):
        connection.sendall(request(1)[:cut])
        time.sleep(0.02)
        connection.sendall(request(1)[cut:])
        assert answer(connection) == first
        connection.sendall(request(1))
        assert answer(connection) == first


def test_two_at_once_after_one(connection: socket.socket) -> None:
    connection.sendall(request(1))
    first = answer(connection)
    connection.sendall(request(1) + b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
    time.sleep(0.05)
    received = connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.endswith(b'{"live":true}')
    connection.sendall(request(1))
    assert answer(connection) == first


def test_an_error_under_a_known_head(connection: socket.socket) -> None:
    connection.sendall(request(1))
    assert answer(connection)[0] == 200
    connection.sendall(request(1, name="z"))
    assert answer(connection)[0] == 400
    connection.sendall(request(1))
    assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    ("field", "received", "keep_alive"),
    [
        ({b"content-length": b"3"}, 2, True),
        ({b"content-length": b"03"}, 3, True),
        ({b"content-length": b"4"}, 4, True),
        ({b"content-length": b"3"}, 3, False),
        ({b"transfer-encoding": b"chunked", b"content-length": b"3"}, 3, True),
        ({b"expect": b"100-continue", b"content-length": b"3"}, 3, True),
        ({}, 3, True),
    ],
)
def test_what_is_not_remembered(field: dict[bytes, bytes], received: int, keep_alive: bool) -> None:
    exchange = Exchange("POST", "/x", b"", field, "", keep_alive=keep_alive)
    exchange.received = received
    assert KnownHeads().of(b"POST /x HTTP/1.1\r\n\r\nabc", exchange) is None


def test_a_head_is_held_once_and_as_long_as_it_is_used() -> None:
    heads = KnownHeads()
    exchange = Exchange("POST", "/x", b"", {b"content-length": b"3"}, "")
    exchange.received = 3
    data = b"POST /x HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    one, other = heads.of(data, exchange), heads.of(data[:-3] + b"def", exchange)
    assert one is not None
    assert one is other
    assert one.begins(data[:-3] + b"xyz")
    assert not one.begins(data + b"G")
    assert not one.begins(data[:-1])
    del one, other
    assert not len(heads._by_bytes)
