"""One request and its one answer, and the values that pass between the wire and the handlers.

A handler gets an `Exchange` whose body is complete and calls `reply` exactly once: at once, later
from the event loop, or never when the client has left (`on_gone` tells). An answer is bytes, or an
asynchronous iterator of bytes for answers that grow (server-sent events).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from .errors import RequestError, openai_error

if TYPE_CHECKING:
    from .routes import Route

Headers = dict[bytes, bytes]
JSON = b"application/json"
CLIENT_GONE = 499  # nginx's word for a client that left before its answer


class Response(NamedTuple):
    """An answer. `json_length` is set where binary tensors follow that many bytes of JSON."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False
    json_length: int | None = None

    @classmethod
    def of(cls, value: object, status: int = 200) -> Response:
        return cls(status, dump(value))

    @classmethod
    def of_error(cls, error: RequestError, path: str) -> Response:
        """`{"error": …}`, as who asked for that path reads it: OpenAI's clients, or those of the
        Open Inference Protocol."""
        body = openai_error(error) if path.startswith("/v1/") else {"error": str(error)}
        headers = tuple(
            (key.encode(), text.encode("latin-1")) for key, text in error.headers.items()
        )
        return cls(error.status, dump(body), headers=headers, close=error.close)


class Exchange:
    """A request: method, decoded path, raw query, header fields by lower-case name, body.

    `client` is whom a fair queue tells apart (the holder of an API key, else the address);
    `arguments` are the parts of the path that the route left open; `received` bytes of body came,
    `held` of them count against what all requests may hold; `began` and `deadline` are
    monotonic seconds.
    """

    __slots__ = (
        "admitted", "arguments", "arriving", "began", "body", "client", "deadline", "discarding",
        "finished", "gone", "headers", "held", "id", "keep_alive", "method", "note", "on_gone",
        "path", "principal", "query", "received", "refusal", "route", "send", "started", "whole",
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        client: str,
        *,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.client = client
        self.keep_alive = keep_alive
        self.began = time.perf_counter()
        self.arguments: Mapping[str, str] = {}
        self.body = b""
        self.received = self.held = 0
        self.deadline: float | None = None
        self.id = ""
        self.principal: str | None = None
        self.route: Route | None = None
        self.note: Any = None
        self.admitted = self.arriving = self.whole = self.started = self.discarding = False
        self.finished = self.gone = False
        self.refusal: Response | None = None
        self.on_gone: Callable[[], None] | None = None
        self.send: Callable[[Exchange, Response], None] = _nowhere

    def reply(self, response: Response) -> None:
        """Answer; a second answer, and one to a client that has left, goes nowhere."""
        if not self.finished:
            self.send(self, response)

    def fail(self, error: RequestError) -> None:
        self.reply(Response.of_error(error, self.path))


def dump(value: Any) -> bytes:
    """Compact JSON; arrays of numbers become lists, floats in the fewest digits that say them."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _nowhere(_: Exchange, __: Response) -> None:
    raise RuntimeError("an exchange without a connection cannot be answered")
