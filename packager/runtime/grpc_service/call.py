"""One call: an exchange that came over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from ..errors import RequestError
from ..exchange import Exchange, Headers
from ..http2.fields import Block
from ..routes import Kind

if TYPE_CHECKING:
    from ..http2.streams import Stream

# A call that has its body gets an answer now, by `Calls.answer`, or later.
Handler = Callable[["Call", bytes], None]


class Method(NamedTuple):
    """One call of a service."""

    path: str
    kind: Kind
    handler: Handler


class Plan(NamedTuple):
    """What a head asks for, worked out once for all requests that have the same: `timeout` in
    seconds, `coding` of the message. `refusal` says no to all of them, `plain` in words of HTTP."""

    method: Method | None
    path: str = ""
    headers: Headers = {}  # noqa: RUF012
    timeout: float | None = None
    coding: bytes = b"identity"
    refusal: RequestError | None = None
    plain: Block | None = None


class Call(Exchange):
    """`opened` when a part of the answer is out; `refuse` is how the service says no."""

    __slots__ = ("opened", "plan", "refuse", "stream")

    def __init__(
        self, plan: Plan, stream: Stream, refuse: Callable[[Stream, RequestError], None]
    ) -> None:
        super().__init__("POST", plan.path, b"", plan.headers, stream.connection.client)
        self.plan = plan
        self.stream = stream
        self.refuse = refuse
        self.opened = False
        self.principal = stream.connection.principal
        if self.principal is not None:
            self.client = self.principal

    def fail(self, error: RequestError) -> None:
        self.refuse(self.stream, error)

    @property
    def kind(self) -> Kind:
        """What the call does to the server; an unknown call does nothing."""
        return Kind.METADATA if self.plan.method is None else self.plan.method.kind
