"""What hostile peers are known to do. Each is told to calm down and closed, or is outlived, and the
server's memory stays where it is while everybody else is served."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from http2_peer import INFER, LIVE, Http2Peer
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.grpc_service.messages import message
from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import frame, rst_stream, window_update

MEBIBYTE = 1 << 20
MOST_GROWTH = 24 * MEBIBYTE
ROWS = 20_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.add_identity("FP32", [-1, 4])
    folder.document["grpc"] = {"port": 0}
    folder.document["http"] |= {
        "header_seconds": 0.5, "body_seconds": 0.5, "write_seconds": 1.0, "idle_seconds": 2.0,
        "max_held_bytes": 4 * MEBIBYTE, "max_body_bytes": 2 * MEBIBYTE, "max_header_bytes": 8192,
    }  # fmt: skip
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        yield process
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


@pytest.fixture
def port(server: RuntimeProcess) -> Iterator[int]:
    """The port of a server that is in order before and afterwards."""
    found = next(line["grpc_port"] for line in server.log if "grpc_port" in line)
    well(found)
    before = resident(server)
    yield found
    well(found)
    assert resident(server) - before < MOST_GROWTH


def well(port: int) -> None:
    with Http2Peer(port) as peer:
        peer.send(peer.call(1))
        assert peer.answer(1)[0]["grpc-status"] == "0"


def resident(server: RuntimeProcess) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def flood(port: int, piece: Callable[[Http2Peer, int], bytes], times: int) -> tuple[ErrorCode, str]:
    """Send on and on without reading; what the server said at the end."""
    with Http2Peer(port) as peer:
        for number in range(times):
            peer.send(piece(peer, number))
        farewell = peer.farewell()
        assert farewell is not None
        return farewell


def test_rapid_reset(port: int) -> None:
    """CVE-2023-44487: streams that are opened and reset at once."""

    def piece(peer: Http2Peer, number: int) -> bytes:
        stream = 2 * number + 1
        return peer.headers(stream) + rst_stream(stream, ErrorCode.CANCEL)

    assert flood(port, piece, 400) == (ErrorCode.ENHANCE_YOUR_CALM, "resets")


def test_streams_that_the_server_has_to_reset(port: int) -> None:
    """CVE-2025-8671: the same, with the server made to send the resets."""

    def piece(peer: Http2Peer, number: int) -> bytes:
        return peer.headers(2 * number + 1) + window_update(2 * number + 1, 0)

    code, _ = flood(port, piece, 3000)
    assert code is ErrorCode.ENHANCE_YOUR_CALM


def test_who_cancels_one_in_two_is_no_attacker(port: int) -> None:
    with Http2Peer(port) as peer:
        for number in range(600):
            stream = 4 * number + 1
            cancelled = peer.headers(stream) + rst_stream(stream, ErrorCode.CANCEL)
            peer.send(cancelled, peer.call(stream + 2))
            if number % 50 == 49:
                assert peer.answer(stream + 2)[0]["grpc-status"] == "0"
                peer.seen.clear()


@pytest.mark.parametrize("size", [0, 100])
def test_continuation_without_end(port: int, size: int) -> None:
    """CVE-2024-27316 and its kin."""

    def piece(peer: Http2Peer, number: int) -> bytes:
        if number == 0:
            return frame(frames.HEADERS, 0, 1, peer.encoder.encode(peer.head()))
        return frame(frames.CONTINUATION, 0, 1, b"\0\1x" + bytes([size]) + b"y" * size)

    assert flood(port, piece, 2000)[0] is ErrorCode.ENHANCE_YOUR_CALM


FLOODS: dict[str, bytes] = {
    "PING, CVE-2019-9512": frame(frames.PING, 0, 0, bytes(8)),
    "SETTINGS, CVE-2019-9515": frames.settings({3: 100}),
    "acknowledgements": frames.SETTINGS_ACK,
    "PRIORITY, CVE-2019-9513": frame(frames.PRIORITY, 0, 3, bytes(5)),
    "unknown frames": frame(0xFA, 0, 0),
    "windows of one byte": window_update(0, 1),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(port: int, name: str) -> None:
    code, _ = flood(port, lambda *_: FLOODS[name] * 100, 50)
    assert code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_empty_data(port: int, padding: bytes) -> None:
    """CVE-2019-9518."""

    def piece(peer: Http2Peer, number: int) -> bytes:
        if number == 0:
            return peer.headers(1)
        return frame(frames.DATA, frames.PADDED if padding else 0, 1, padding) * 100

    assert flood(port, piece, 50)[0] is ErrorCode.ENHANCE_YOUR_CALM


def test_too_many_settings_in_one_frame(port: int) -> None:
    code, _ = flood(
        port, lambda *_: frame(frames.SETTINGS, 0, 0, bytes([0, 9, 0, 0, 0, 1]) * 99), 1
    )
    assert code is ErrorCode.ENHANCE_YOUR_CALM


def test_an_hpack_bomb(port: int) -> None:
    def piece(peer: Http2Peer, number: int) -> bytes:
        block = peer.encoder.encode([*peer.head(LIVE), ("x", "y" * 3000)])
        return peer.headers(1, [*peer.head(LIVE), ("x", "y" * 3000)]) + frame(
            frames.HEADERS, 5, 3, block + block[-1:] * 10_000
        )

    assert flood(port, piece, 1)[0] is ErrorCode.COMPRESSION_ERROR


def infer(rows: int) -> bytes:
    request = message("inference.ModelInferRequest")(model_name="fp32")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(bytes(rows * 16))
    return bytes(request.SerializeToString())


def test_a_reader_that_does_not_read(port: int) -> None:
    """Answers that no window lets out are held within the bound, and given up in time; the streams
    that find no room are told so."""
    with Http2Peer(port, settings={4: 0}) as peer:
        for number in range(60):
            peer.send(peer.call(2 * number + 1, infer(ROWS), INFER))
        codes = {peer.reset(2 * number + 1, 8) for number in (0, 1)}
        assert codes == {ErrorCode.CANCEL}
        refused = [one for one in peer.seen if one[0] == frames.HEADERS and one[1] & 1]
        assert refused


def test_a_reader_that_does_not_take_bytes(port: int) -> None:
    """Windows without end, but nothing is read from the socket."""
    with Http2Peer(port, settings={4: (1 << 31) - 1}) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send(window_update(0, 1 << 30))
        peer.socket.settimeout(0.5)
        began = time.monotonic()
        number = 0
        try:
            while time.monotonic() - began < 6:
                peer.socket.sendall(peer.call(2 * number + 1, infer(ROWS), INFER))
                number += 1
        except OSError:
            pass
        # The server lets go after `write_seconds`.
        for _ in range(60):
            try:
                peer.socket.sendall(frame(frames.PING, 0, 0, bytes(8)))
            except TimeoutError:
                continue
            except OSError:
                return
            time.sleep(0.1)
        raise AssertionError("the server still waits")


def test_a_window_that_is_overdrawn(port: int) -> None:
    """More than a stream's window, which is as large as a message may be."""
    with Http2Peer(port) as peer:
        announced = b"\0" + (2 * MEBIBYTE).to_bytes(4, "big")
        peer.send(peer.headers(1), frame(frames.DATA, 0, 1, announced))
        piece = frame(frames.DATA, 0, 1, bytes(frames.LARGEST_FRAME))
        peer.send(piece * (2 * MEBIBYTE // frames.LARGEST_FRAME + 1))
        found = peer.until(lambda one: one[0] in (frames.RST_STREAM, frames.HEADERS))
        assert found is not None
        assert peer.alive()


def test_a_message_that_says_it_is_too_large_is_refused_before_it_comes(port: int) -> None:
    with Http2Peer(port) as peer:
        announced = b"\0" + (2 * MEBIBYTE + 1).to_bytes(4, "big")
        peer.send(peer.headers(1), frame(frames.DATA, 0, 1, announced[:2]))
        peer.send(frame(frames.DATA, 0, 1, announced[2:]))
        fields, _ = peer.answer(1)
        assert (fields["grpc-status"], fields["grpc-message"]) == (
            "8", "the body is larger than 2097152 bytes",
        )  # fmt: skip
        assert peer.reset(1) is ErrorCode.NO_ERROR
        # What was on its way is let run into nothing.
        peer.send(frame(frames.DATA, 0, 1, bytes(5000)) * 100, peer.call(3))
        assert peer.answer(3)[0]["grpc-status"] == "0"


def test_bodies_that_fill_the_memory_of_all(port: int) -> None:
    with Http2Peer(port) as peer:
        announced = b"\0" + (2 * MEBIBYTE - 16).to_bytes(4, "big")
        for stream in range(1, 21, 2):
            peer.send(peer.headers(stream), frame(frames.DATA, 0, stream, announced))
            for _ in range(60):
                peer.send(frame(frames.DATA, 0, stream, bytes(frames.LARGEST_FRAME)))
        fields, _ = peer.answer(19)
        assert fields["grpc-status"] == "14"
        assert "memory" in fields["grpc-message"]


def test_a_preface_that_dribbles_in(port: int) -> None:
    with Http2Peer(port, greet=False) as peer:
        peer.send(frames.PREFACE[:10])
        began = time.monotonic()
        assert peer.farewell() is None
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("ended", [False, True])
def test_a_head_that_dribbles_in(port: int, ended: bool) -> None:
    """A frame that is never complete, and a block that is never."""
    with Http2Peer(port) as peer:
        block = peer.encoder.encode(peer.head())
        head = frame(frames.HEADERS, 0, 1, block)
        peer.send(head if ended else head[:20])
        began = time.monotonic()
        farewell = peer.farewell()
        assert farewell is not None
        assert farewell[0] is ErrorCode.ENHANCE_YOUR_CALM
        assert time.monotonic() - began < 4


def test_a_body_that_dribbles_in(port: int) -> None:
    with Http2Peer(port) as peer:
        peer.send(peer.headers(1), frame(frames.DATA, 0, 1, b"\0"))
        fields, _ = peer.answer(1)
        assert (fields["grpc-status"], fields["grpc-message"]) == (
            "4", "the body of the request did not come in time",
        )  # fmt: skip
        assert peer.alive()


def test_a_peer_that_closes_its_side(port: int) -> None:
    with Http2Peer(port) as peer:
        peer.send(peer.headers(1))
        assert peer.alive()
        peer.socket.shutdown(socket.SHUT_WR)
        peer.farewell()


def test_who_says_nothing_is_told_goodbye(port: int) -> None:
    with Http2Peer(port) as peer:
        peer.send(peer.call(1))
        peer.answer(1)
        began = time.monotonic()
        farewell = peer.farewell()
        assert farewell == (ErrorCode.NO_ERROR, "")
        assert 1.5 < time.monotonic() - began < 5


def test_many_idle_connections(port: int, server: RuntimeProcess) -> None:
    before = resident(server)
    peers = [Http2Peer(port) for _ in range(300)]
    try:
        assert all(peer.alive() for peer in peers[::50])
        assert (resident(server) - before) / 300 < 32 * 1024
    finally:
        for peer in peers:
            peer.socket.close()
