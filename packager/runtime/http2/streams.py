"""One stream: a request and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from .fields import Block, Head

if TYPE_CHECKING:
    from ..errors import RequestError
    from ..exchange import Exchange
    from .connection import Connection


class Unsent(NamedTuple):
    """What waits for the peer's windows: the rest of a body, and what closes the stream."""

    body: memoryview
    trailers: Block | None


class Stream:
    """`number` is the stream's; `window` what we may send. Of the request: `chunks` and `size` of
    its body so far, `most` that it may have, `room` that the peer has left, `whole` when all of it
    is there; `answered` when the last of its answer is on its way, whatever still comes.
    `exchange` is for the application; `since` is when the peer last moved (the loop's seconds)."""

    __slots__ = (
        "answered", "chunks", "closed", "connection", "exchange", "head", "most", "number", "room",
        "since", "size", "unsent", "whole", "window",
    )  # fmt: skip

    def __init__(
        self, number: int, connection: Connection, head: Head, window: int, room: int
    ) -> None:
        self.number = number
        self.connection = connection
        self.head = head
        self.window = window
        self.room = room
        self.chunks: list[bytes] = []
        self.size = 0
        self.most = 0
        self.whole = self.answered = self.closed = False
        self.since = 0.0
        self.unsent: Unsent | None = None
        self.exchange: Exchange | None = None

    def body(self) -> bytes:
        """The body; it is forgotten here."""
        chunks = self.chunks
        self.chunks = []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def send(self, head: Block | None, body: bytes, trailers: Block | None) -> None:
        """Send an answer or a part of it: `head` first, `trailers` last."""
        self.connection.send(self, head, body, trailers)


class Service(Protocol):
    """What a connection asks of whoever answers. Whatever it is asked, it may answer at once."""

    def opened(self, stream: Stream) -> None:
        """The head is there; `most` is to be set where a body may follow."""

    def begun(self, stream: Stream) -> None:
        """A part of the body is there, and more is to come."""

    def whole(self, stream: Stream) -> None:
        """The request is complete."""

    def refuse(self, stream: Stream, error: RequestError) -> None:
        """Answer with an error."""

    def gone(self, stream: Stream) -> None:
        """The peer has given the stream up, or has left."""

    def closing(self) -> bool:
        """Whether connections shall end."""
