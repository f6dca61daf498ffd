"""Requests that begin as the one before do, on connections of the real server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.connection import Connection
from packager.runtime.errors import RequestError
from packager.runtime.exchange import Exchange, Response
from packager.runtime.http_settings import Limits
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


class Recorder:
    """A service that answers everything, a transport that keeps everything."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self.written = b""
        self.closed = False

    def admit(self, exchange: Exchange) -> int:
        if exchange.path == "/no":
            raise RequestError(404, "no")
        return 64

    def handle(self, exchange: Exchange) -> None:
        head = (exchange.method, exchange.path, exchange.query, exchange.keep_alive)
        self.seen.append((*head, sorted(exchange.headers.items()), exchange.body))
        exchange.reply(Response(200, b"%d" % len(exchange.body)))

    def finished(self, *_: object) -> None:
        return

    def closing(self) -> bool:
        return False

    def get_extra_info(self, _: str) -> None:
        return

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = True

    close = abort = pause_reading = write_eof


class AllConnections:
    """What a connection needs of the others."""

    held = 0
    date_line = b""

    def __init__(self) -> None:
        self.limits = Limits(max_body_bytes=64, max_header_bytes=1024)
        self.heads = KnownHeads()

    def now(self) -> float:
        return 0.0

    def add(self, _: object) -> None:
        return

    remove = add


def told(*pieces: bytes) -> tuple[list[tuple[object, ...]], bytes, bool]:
    """What a new connection makes of what comes in these pieces."""
    recorder: Any = Recorder()
    connections: Any = AllConnections()
    connection = Connection(recorder, connections)
    connection.connection_made(recorder)
    for piece in pieces:
        connection.data_received(piece)
    assert connections.held == 0 or not recorder.closed
    return recorder.seen, recorder.written, recorder.closed


FIRST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n12345678"


@given(st.data())
def test_what_follows_a_known_head_means_what_it_means_alone(data: st.DataObject) -> None:
    fields = [b"Host: h\r\n", b"Content-Length: 8\r\n", b"GET /no HTTP/1.1"]
    pieces = [*fields, b"\r\n", b"\0", b"8", b"\n"]
    at = data.draw(st.integers(0, len(FIRST)))
    cut = data.draw(st.integers(0, 9))
    put = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=3)))
    changed = FIRST[:at] + put + FIRST[at + cut :]
    split = data.draw(st.integers(0, len(changed)))
    seen, written, closed = told(FIRST)
    alone = told(changed[:split], changed[split:], FIRST)
    after = told(FIRST, changed[:split], changed[split:], FIRST)
    assert after == (seen + alone[0], written + alone[1], alone[2])
    assert not closed


@given(st.binary(min_size=8, max_size=8), st.sampled_from([b"/a", b"/no"]))
def test_any_body_under_a_known_head(body_: bytes, path: bytes) -> None:
    first = FIRST.replace(b"/a", path)
    again = first[:-8] + body_
    assert told(first, again, first)[:2] == (
        told(first)[0] + told(again)[0] + told(first)[0],
        told(first)[1] + told(again)[1] + told(first)[1],
    )


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
