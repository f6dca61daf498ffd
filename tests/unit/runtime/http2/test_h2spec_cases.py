"""The cases of h2spec 2.6 that `test_protocol.py` has not, under h2spec's own numbers.

h2spec itself is a Go program that no registry of ours carries. Its cases are sections of RFC 9113
and RFC 7541, and what it wants of a server: an answer, a stream that is reset, or a connection that
is closed with a code. Two of them are not asked for: 5.3.1 (a stream that depends on itself), since
RFC 9113 has taken priorities out and says that they are to be ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from http2_peer import LIVE, Http2Peer
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import frame, rst_stream, window_update

Say = Callable[[Http2Peer], bytes]
P, C = ErrorCode.PROTOCOL_ERROR, ErrorCode.STREAM_CLOSED
S, W, H = ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.COMPRESSION_ERROR
EMPTY = bytes(5)  # a message without fields
PRIORITY = b"\0\0\0\0\xff"


@dataclass(frozen=True)
class Wanted:
    """What the server has to do: answer the call on `stream`, reset it, or close."""

    stream: int = 1
    reset: ErrorCode | None = None
    closed: ErrorCode | None = None


ANSWER = Wanted()


def head(peer: Http2Peer, stream: int = 1, *, flags: int = 4, **fields: str) -> bytes:
    return frame(1, flags, stream, peer.encoder.encode(peer.head(LIVE, **fields)))


def body(stream: int = 1, flags: int = 1, data: bytes = EMPTY) -> bytes:
    return frame(0, flags, stream, data)


def rest(peer: Http2Peer, without: str = "", twice: str = "", **more: str) -> bytes:
    """HEADERS and body of a call without a field, or with one twice."""
    fields = [pair for pair in peer.head(LIVE) if pair[0] != without]
    fields += [pair for pair in peer.head(LIVE) if pair[0] == twice]
    fields.sort(key=lambda pair: not pair[0].startswith(":"))
    return peer.headers(1, fields) + body()


def stalled(peer: Http2Peer) -> bytes:
    """A call that has been sent whole, and whose answer waits: half-closed (remote)."""
    return frames.settings({4: 0}) + peer.call(1)


def released() -> bytes:
    return frames.settings({4: 65535})


def literal(peer: Http2Peer, how: int, *, named: bool, huffman: bool = False) -> bytes:
    """A call whose last field is said in one of RFC 7541's ways; `how` is the first byte's bits."""
    block = peer.encoder.encode(peer.head(LIVE))
    # An indexed name (user-agent, 58), or a new one; the value in plain or in Huffman's code ("a").
    prefix = {0x40: 6, 0x00: 4, 0x10: 4}[how]
    most = (1 << prefix) - 1
    index = bytes([how | 58]) if most > 58 else bytes([how | most, 58 - most])
    name = index if named else bytes([how, 1]) + b"x"
    value = b"\x81\x1f" if huffman else b"\1a"
    return frame(1, 4, 1, block + name + value) + body()


def reset(peer: Http2Peer) -> bytes:
    """A stream that the client has reset."""
    return head(peer) + rst_stream(1, ErrorCode.CANCEL)


def ended(peer: Http2Peer) -> bytes:
    peer.send(peer.call(1))
    assert peer.answer(1)[0]["grpc-status"] == "0"
    return b""


def block(peer: Http2Peer) -> bytes:
    return peer.encoder.encode(peer.head(LIVE))


CASES: dict[str, tuple[Say, Wanted]] = {
    # generic
    "g2/1 PRIORITY on an idle stream": (lambda p: frame(2, 0, 1, PRIORITY) + p.call(1), ANSWER),
    "g2/2 WINDOW_UPDATE on a half-closed stream": (
        lambda p: stalled(p) + window_update(1, 100), ANSWER,
    ),
    "g2/3 PRIORITY on a half-closed stream": (
        lambda p: stalled(p) + frame(2, 0, 1, PRIORITY) + released(), ANSWER,
    ),
    "g2/4 RST_STREAM on a half-closed stream": (
        lambda p: stalled(p) + rst_stream(1, ErrorCode.CANCEL) + released() + p.call(3), Wanted(3),
    ),
    "g2/5 PRIORITY on a stream that has ended": (
        lambda p: ended(p) + frame(2, 0, 1, PRIORITY) + p.call(3), Wanted(3),
    ),
    "g3.1/1 one DATA": (lambda p: head(p) + body(), ANSWER),
    "g3.1/2 several DATA": (
        lambda p: head(p) + body(1, 0, EMPTY[:2]) + body(1, 1, EMPTY[2:]), ANSWER,
    ),
    "g3.2/3 HEADERS with an exclusive dependency": (
        lambda p: frame(1, 0x24, 1, b"\x80\0\0\0\xff" + block(p)) + body(), ANSWER,
    ),
    "g3.3/4 PRIORITY for a stream that comes later": (
        lambda p: frame(2, 0, 7, b"\0\0\0\5\1") + p.call(7), Wanted(7),
    ),
    "g3.8/1 GOAWAY, and the calls before it": (
        lambda p: p.call(1) + frames.goaway(0, ErrorCode.NO_ERROR), ANSWER,
    ),
    "g3.9/1 a wider connection": (lambda p: window_update(0, 1) + p.call(1), ANSWER),
    "g3.9/2 a wider stream": (lambda p: head(p) + window_update(1, 1) + body(), ANSWER),
    "g3.10/2 several CONTINUATION": (
        lambda p: (whole := block(p))
        and frame(1, 0, 1, whole[:1])
        + b"".join(frame(9, 0, 1, whole[place : place + 1]) for place in range(1, 20))
        + frame(9, 4, 1, whole[20:])
        + body(),
        ANSWER,
    ),
    "g5/1 everything indexed": (lambda p: p.call(1) + p.call(3), Wanted(3)),
    "g5/2 literal, indexed name, into the table": (lambda p: literal(p, 0x40, named=True), ANSWER),
    "g5/3 literal, new name, into the table": (lambda p: literal(p, 0x40, named=False), ANSWER),
    "g5/5 literal, indexed name, not into it": (lambda p: literal(p, 0x00, named=True), ANSWER),
    "g5/6 literal, new name, not into it": (lambda p: literal(p, 0x00, named=False), ANSWER),
    "g5/8 literal, indexed name, never into any": (lambda p: literal(p, 0x10, named=True), ANSWER),
    "g5/9 literal, new name, never into any": (lambda p: literal(p, 0x10, named=False), ANSWER),
    "g5/4 literal in Huffman's code": (
        lambda p: literal(p, 0x40, named=True, huffman=True), ANSWER,
    ),
    "g5/14 two size updates": (
        lambda p: frame(1, 4, 1, b"\x20\x3f\xe1\x1f" + p.encoder_without_table(p.head(LIVE)))
        + body(),
        ANSWER,
    ),
    # http2
    "4.1/3 a reserved bit": (
        lambda p: (told := p.call(1))[:5] + bytes([told[5] | 0x80]) + told[6:], ANSWER,
    ),
    "4.2/1 DATA of 16,384 octets": (
        lambda p: head(p) + body(1, 1, b"\0\0\0\x3f\xfb" + b"\x0a\xf8\x7f" + bytes(16376)), ANSWER,
    ),
    "4.2/2 DATA of 16,385 octets": (
        lambda p: head(p) + body(1, 1, bytes(16385)), Wanted(closed=S),
    ),
    "4.2/3 HEADERS of 16,385 octets": (lambda _: frame(1, 5, 1, bytes(16385)), Wanted(closed=S)),
    "5.1/5 DATA when the request has ended": (
        lambda p: stalled(p) + body(1, 1, b"x"), Wanted(reset=C),
    ),
    "5.1/7 CONTINUATION when the request has ended": (
        lambda p: stalled(p) + frame(9, 4, 1), Wanted(closed=P),
    ),
    "5.1/8 DATA after a reset": (lambda p: reset(p) + body(1, 1, b"x"), Wanted(reset=C)),
    "5.1/9 HEADERS after a reset": (lambda p: reset(p) + head(p, flags=5), Wanted(closed=C)),
    "5.1/10 CONTINUATION after a reset": (lambda p: reset(p) + frame(9, 4, 1), Wanted(closed=P)),
    "5.1/13 CONTINUATION after the end": (lambda p: ended(p) + frame(9, 4, 1), Wanted(closed=P)),
    "5.5/2 an unknown frame within a block": (
        lambda p: frame(1, 0, 1, block(p)) + frame(0xFF, 0, 0, bytes(8)), Wanted(closed=P),
    ),
    "6.1/2 DATA on a stream that is closed": (
        lambda p: ended(p) + body(1, 0, b"x"), Wanted(reset=C),
    ),
    "6.2/1 PRIORITY within a block": (
        lambda p: frame(1, 0, 1, block(p)) + frame(2, 0, 1, PRIORITY), Wanted(closed=P),
    ),
    "6.5.3/1 a setting twice: the last one holds": (
        lambda p: frame(4, 0, 0, b"\0\4\0\0\0\1\0\4\0\0\xff\xff") + p.call(1), ANSWER,
    ),
    "6.9.1/1 a window of one octet, and wider": (
        lambda p: frames.settings({4: 1}) + p.call(1) + window_update(1, 65534), ANSWER,
    ),
    "6.9.2/1 a window that changes behind HEADERS": (
        lambda p: frames.settings({4: 0}) + head(p) + frames.settings({4: 99}) + body(), ANSWER,
    ),
    "6.9.2/2 a negative window": (
        lambda p: (
            frames.settings({4: 3}) + p.call(1) + frames.settings({4: 2}) + window_update(1, 99)
        ),
        ANSWER,
    ),
    "6.10/5 CONTINUATION behind the last CONTINUATION": (
        lambda p: frame(1, 0, 1, block(p)) + frame(9, 4, 1) + frame(9, 4, 1), Wanted(closed=P),
    ),
    "6.10/6 CONTINUATION behind DATA": (
        lambda p: head(p) + body(1, 0) + frame(9, 4, 1), Wanted(closed=P),
    ),
    "7/1 GOAWAY with an unknown code": (
        lambda p: frame(7, 0, 0, bytes(4) + b"\0\0\0\xff") + p.call(1), ANSWER,
    ),
    "7/2 RST_STREAM with an unknown code": (
        lambda p: head(p) + frame(3, 0, 1, b"\0\0\0\xff") + p.call(3), Wanted(3),
    ),
    "8.1.2.1/2 a pseudo-header of answers": (
        lambda p: head(p, **{":status": "200"}) + body(), Wanted(reset=P),
    ),
    "8.1.2.3/2 no method": (lambda p: rest(p, without=":method"), Wanted(reset=P)),
    "8.1.2.3/3 no scheme": (lambda p: rest(p, without=":scheme"), Wanted(reset=P)),
    "8.1.2.3/6 two schemes": (lambda p: rest(p, twice=":scheme"), Wanted(reset=P)),
    "8.1.2.3/7 two paths": (lambda p: rest(p, twice=":path"), Wanted(reset=P)),
    "8.1.2.6/2 more DATA than declared, in pieces": (
        lambda p: head(p, content_length="5") + body(1, 0) + body(1, 1, b"x"), Wanted(reset=P),
    ),
    # hpack
    "h2.3.3/1 an index beyond both tables": (lambda _: frame(1, 5, 1, b"\xc6"), Wanted(closed=H)),
    "h5.2/1 padding of more than 7 bits": (
        lambda p: frame(1, 5, 1, block(p) + b"\0\1x\x82\x1f\xff"), Wanted(closed=H),
    ),
    "h5.2/2 padding of zeros": (
        lambda p: frame(1, 5, 1, block(p) + b"\0\1x\x81\x18"), Wanted(closed=H),
    ),
    "h5.2/3 EOS": (
        lambda p: frame(1, 5, 1, block(p) + b"\0\1x\x84\xff\xff\xff\xff"), Wanted(closed=H),
    ),
    "h6.1/1 index 0": (lambda _: frame(1, 5, 1, b"\x80"), Wanted(closed=H)),
}  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.document["grpc"] = {"port": 0}
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        yield process.log[-1]["grpc_port"]
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


@pytest.mark.parametrize("name", CASES)
def test_case(port: int, name: str) -> None:
    say, wanted = CASES[name]
    with Http2Peer(port) as peer:
        peer.send(say(peer))
        if wanted.closed is not None:
            farewell = peer.farewell()
            assert farewell is not None
            assert farewell[0] is wanted.closed, farewell
            return
        if wanted.reset is not None:
            assert peer.reset(wanted.stream) is wanted.reset
            peer.send(released(), peer.call(101))
        fields, data = peer.answer(101 if wanted.reset is not None else wanted.stream)
        assert (fields[":status"], fields["grpc-status"]) == ("200", "0")
        assert data == b"\0\0\0\0\2\x08\1"


def test_connection_error_closes_with_goaway_naming_the_last_stream(port: int) -> None:
    """5.4.1."""
    with Http2Peer(port) as peer:
        ended(peer)
        peer.send(frame(frames.PING, 0, 0, bytes(6)))
        assert peer.farewell() == (S, "PING has 8 bytes")
        last = next(one for one in peer.seen if one[0] == frames.GOAWAY)[3][:4]
        assert int.from_bytes(last, "big") == 1
