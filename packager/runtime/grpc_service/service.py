"""What happens to every call, whatever it is about.

Calls go the same way as requests over REST: access, admission, queue, journal, figures. Only what
carries them is another. A head is enough to refuse a call; only then is its message read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, cast

from google.protobuf.message import DecodeError

from ..application import Application
from ..errors import RequestError
from ..exchange import CLIENT_GONE
from ..extensions import Extensions
from ..http2.fields import Block, Head
from ..http2.streams import Stream
from ..models import Models
from ..routes import Kind
from ..server_routes import ServerRoutes
from ..tensors import bad
from .call import Call, Handler, Method, Plan
from .framing import PREFIX, check_announced, framed, unframed
from .health import HEALTH, Health
from .inference import Inference, received
from .messages import methods
from .metadata import SERVICE, Metadata
from .status import CLOSING, OPENING, Code, code_of, refusal, timeout_of

_HEALTH_CALLS = ("ServerLive", "ServerReady", "ModelReady", "Check", "Watch")
_READ = (b"authorization", b"x-api-key", b"traceparent")


class Service:
    """The service behind every HTTP/2 connection (see `http2.streams.Service`)."""

    def __init__(
        self,
        application: Application,
        server_routes: ServerRoutes,
        extensions: Extensions,
        models: Callable[[], Models],
        helpers: Executor,
        most: int,
        told: Callable[[Exception], RequestError],
    ) -> None:
        self._application = application
        self._most = most
        self._told = told
        self._health = Health(server_routes, (SERVICE, HEALTH), most)
        metadata = Metadata(server_routes, extensions, models).calls()
        inference = Inference(models, most, helpers, self._answer, told)
        special: dict[str, Handler] = {
            "ModelInfer": inference,
            "Watch": lambda call, data: self._health.watch(call, data, _decoded),
        }
        self._methods: dict[bytes, Method] = {}
        for service in (SERVICE, HEALTH):
            for name, (request, response, _) in methods(service).items():
                handler = special.get(name)
                if handler is None:
                    made = (
                        self._health.check if name == "Check" else _made(metadata[name], response)
                    )
                    handler = self._unary(request, made)
                kind = Kind.HEALTH if name in _HEALTH_CALLS else Kind.METADATA
                kind = Kind.INFERENCE if name == "ModelInfer" else kind
                path = f"/{service}/{name}"
                self._methods[path.encode()] = Method(path, kind, handler)

    def close(self) -> None:
        """End what would not end by itself."""
        self._health.close()

    # The connection's side

    def opened(self, stream: Stream) -> None:
        plan = stream.head.plan
        if plan is None:
            plan = stream.head.plan = self._plan(stream.head)
        call = Call(plan, stream, self.refuse)
        stream.exchange = call
        if plan.plain is not None:
            self._leave(call, 415, 0)
            stream.send(None, b"", plan.plain)
            return
        try:
            if plan.refusal is not None:
                raise plan.refusal
            stream.most = self._application.announce(call, call.kind) + PREFIX
        except Exception as error:
            self.refuse(stream, self._told(error))

    def begun(self, stream: Stream) -> None:
        first = stream.chunks[0]
        if len(first) < PREFIX:
            first = b"".join(stream.chunks[:PREFIX])
        try:
            check_announced(first, self._most)
        except RequestError as error:
            self.refuse(stream, error)

    def whole(self, stream: Stream) -> None:
        call, data = _call(stream), stream.body()
        call.received = received(data)
        try:
            self._application.enter(call)
            cast(Method, call.plan.method).handler(call, data)
        except Exception as error:
            self.refuse(stream, self._told(error))

    def refuse(self, stream: Stream, error: RequestError) -> None:
        call = stream.exchange
        if not isinstance(call, Call) or call.finished:
            return
        code = code_of(error)
        timeout = call.plan.timeout
        if call.plan.method is None:
            code = Code.UNIMPLEMENTED
        elif code is Code.UNAVAILABLE and timeout is not None and _since(call) >= timeout:
            code = Code.DEADLINE_EXCEEDED
        self._leave(call, error.status, 0)
        stream.send(None, b"", refusal(error, code, opened=call.opened))

    def gone(self, stream: Stream) -> None:
        call = _call(stream)
        if call.finished:
            return
        call.gone, on_gone = True, call.on_gone
        self._leave(call, 200 if call.opened else CLIENT_GONE, 0)
        if on_gone is not None:
            on_gone()

    def closing(self) -> bool:
        return self._application.closing()

    # Answers

    def _answer(self, call: Call, data: bytes) -> None:
        """Send a framed message and the good end of its call."""
        if call.finished:
            return
        self._leave(call, 200, received(data) if call.kind is Kind.INFERENCE else 0)
        call.stream.send(OPENING, data, CLOSING)

    def _leave(self, call: Call, status: int, sent: int) -> None:
        call.finished = True
        self._application.leave(call, call.kind, status, sent)

    def _unary(self, request: Any, made: Callable[[Any], Any]) -> Handler:
        def handler(call: Call, data: bytes) -> None:
            given = _decoded(request, unframed(data, call.plan.coding, self._most))
            self._answer(call, framed([made(given).SerializeToString()]))

        return handler

    def _plan(self, head: Head) -> Plan:
        """What a head asks for."""
        fields = head.fields
        kind = fields.get(b"content-type", b"")
        if head.method != b"POST" or not kind.startswith(b"application/grpc"):
            return Plan(None, plain=Block.of((b"content-length", b"0"), status=415))
        method = self._methods.get(head.path)
        if method is None:
            return Plan(None, refusal=RequestError(404, "this server has no such call"))
        timeout = fields.get(b"grpc-timeout")
        try:
            return Plan(
                method,
                method.path,
                {name: fields[name] for name in _READ if name in fields},
                None if timeout is None else timeout_of(timeout),
                fields.get(b"grpc-encoding", b"identity"),
            )
        except RequestError as error:
            return Plan(method, method.path, refusal=error)


def _made(fields: Callable[[Any], dict[str, Any]], response: Any) -> Callable[[Any], Any]:
    return lambda request: response(**fields(request))


def _decoded(request: Any, data: bytes) -> Any:
    """The message; raises RequestError (400) for bytes that are none."""
    try:
        return request.FromString(data)
    except DecodeError as error:
        raise bad("this is not the message of the call") from error


def _call(stream: Stream) -> Call:
    return cast(Call, stream.exchange)


def _since(call: Call) -> float:
    return time.perf_counter() - call.began
