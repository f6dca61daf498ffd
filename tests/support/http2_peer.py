"""A client of HTTP/2 that does as it is told: frames in, frames out, nothing of its own accord."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from hpack import Decoder, Encoder

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import Frame, FrameReader, frame

INFER = "/inference.GRPCInferenceService/ModelInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"


class Http2Peer(AbstractContextManager["Http2Peer"]):
    """One connection. `seen` holds every frame of the server so far."""

    def __init__(self, port: int, *, greet: bool = True, settings: dict[int, int] | None = None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.seen: list[Frame] = []
        self.closed = False
        self._pings = 0
        self._reader = FrameReader()
        if greet:
            self.send(frames.PREFACE, frames.settings(settings or {}))

    def send(self, *data: bytes) -> None:
        """Bytes as they are; a server that has left is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(b"".join(data))

    def more(self, deadline: float) -> bool:
        """Take in what the server has said; False when it has left or time is over."""
        self.socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        self.closed = not data
        self.seen += self._reader.feed(data)
        return not self.closed

    def until(self, wanted: Callable[[Frame], bool], seconds: float = 10.0) -> Frame | None:
        """The first frame of all that is wanted; None without one."""
        deadline, looked_at = time.monotonic() + seconds, 0
        while True:
            for one in self.seen[looked_at:]:
                if wanted(one):
                    return one
            looked_at = len(self.seen)
            if self.closed or not self.more(deadline):
                return None

    # What is sent

    def head(self, path: str = INFER, **fields: str) -> list[tuple[str, str]]:
        usual = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
            "te": "trailers", "content-type": "application/grpc",
        }  # fmt: skip
        usual |= {name.replace("_", "-"): value for name, value in fields.items()}
        return list(usual.items())

    @staticmethod
    def encoder_without_table(fields: list[tuple[str, str]]) -> bytes:
        """A block for a table of no size."""
        encoder = Encoder()
        encoder.header_table.maxsize = 0
        return bytes(encoder.encode(fields))

    def headers(
        self, stream: int, fields: list[tuple[str, str]] | None = None, *, end: bool = False
    ) -> bytes:
        block = self.encoder.encode(self.head() if fields is None else fields)
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        return frame(frames.HEADERS, flags, stream, block)

    def call(self, stream: int, message: bytes = b"", path: str = LIVE, **fields: str) -> bytes:
        """The frames of one call."""
        data = b"\0" + len(message).to_bytes(4, "big") + message
        size = frames.LARGEST_FRAME
        pieces = [data[first : first + size] for first in range(0, len(data), size)]
        sent = [self.headers(stream, self.head(path, **fields))]
        sent += [frame(frames.DATA, 0, stream, piece) for piece in pieces[:-1]]
        return b"".join([*sent, frame(frames.DATA, frames.END_STREAM, stream, pieces[-1])])

    # What came

    def answer(self, stream: int, seconds: float = 10.0) -> tuple[dict[str, str], bytes]:
        """All header fields and the body of an answer, when its stream has ended."""
        self.until(lambda one: one[2] == stream and _ends(one), seconds)
        fields: dict[str, str] = {}
        body = b""
        for kind, _, number, payload in self.seen:
            if kind == frames.HEADERS:
                # Every block has to be read, in order; answers leave the table as it is.
                found = dict(self.decoder.decode(payload))
                fields |= found if number == stream else {}
            elif kind == frames.DATA and number == stream:
                body += payload
        return fields, body

    def reset(self, stream: int, seconds: float = 10.0) -> ErrorCode | None:
        """What the stream was reset with."""
        found = self.until(lambda one: one[0] == frames.RST_STREAM and one[2] == stream, seconds)
        return None if found is None else ErrorCode(int.from_bytes(found[3], "big"))

    def farewell(self, seconds: float = 10.0) -> tuple[ErrorCode, str] | None:
        """The last GOAWAY, when the server has closed the connection."""
        deadline = time.monotonic() + seconds
        while not self.closed and self.more(deadline):
            pass
        assert self.closed, "the connection is still open"
        found = [one for one in self.seen if one[0] == frames.GOAWAY]
        if not found:
            return None
        code = ErrorCode(struct.unpack(">I", found[-1][3][4:8])[0])
        return code, found[-1][3][8:].decode()

    def alive(self) -> bool:
        """Whether a PING is answered."""
        self._pings += 1
        said = self._pings.to_bytes(8, "big")
        self.send(frame(frames.PING, 0, 0, said))
        return self.until(lambda one: one[0] == frames.PING and one[3] == said) is not None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()


def _ends(one: Frame) -> bool:
    kind, flags, _, _ = one
    ended = kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM
    return bool(ended) or kind == frames.RST_STREAM
