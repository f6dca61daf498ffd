"""The calls of `inference.GRPCInferenceService` and `grpc.health.v1.Health`.

They go the same way as requests over REST: access, admission, queue, journal, figures. Only what
carries them is another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from .. import VERSION
from ..application import Application
from ..errors import RequestError
from ..exchange import Exchange
from ..extensions import Extensions, model_config, statistics
from ..models import Models
from ..routes import Kind
from ..server_routes import EXTENSIONS, ServerRoutes
from ..tensors import bad
from ..waiting import Result
from .conversion import request_of, response_of
from .messages import message, methods

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_HEALTH_CALLS = ("ServerLive", "ServerReady", "ModelReady", "Check", "Watch")
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
_WATCH_SECONDS = 0.5


class Service:
    """The calls by name; each takes a request and gives a response."""

    def __init__(
        self,
        application: Application,
        server_routes: ServerRoutes,
        extensions: Extensions,
        models: Callable[[], Models],
    ) -> None:
        self._application = application
        self._routes = server_routes
        self._extensions = extensions
        self._models = models

    def handlers(self) -> list[Any]:
        """What a gRPC server is given."""
        return [self._handlers(SERVICE), self._handlers(HEALTH)]

    def _handlers(self, service: str) -> Any:
        found = {}
        for name, (request, response, streams) in methods(service).items():
            made = (
                grpc.unary_stream_rpc_method_handler
                if streams
                else (grpc.unary_unary_rpc_method_handler)
            )
            call = self._watching(request) if streams else self._call(name, request, response)
            # Without a deserializer the bytes come to us: gRPC would answer those that are no
            # message with UNKNOWN and the names of Python's classes, past journal and figures.
            found[name] = made(call, response_serializer=response.SerializeToString)
        return grpc.method_handlers_generic_handler(service, found)

    def _call(self, name: str, request: Any, response: Any) -> Callable[[bytes, Any], Any]:
        answer = getattr(self, f"_{name}")
        kind = Kind.HEALTH if name in _HEALTH_CALLS else Kind.METADATA
        if name == "ModelInfer":
            kind = Kind.INFERENCE

        async def call(data: bytes, context: Any) -> Any:
            exchange = _exchange(name, context)
            status, size = 499, 0
            try:
                self._application.enter(exchange, kind)
                made = answer(_decoded(request, data), response, exchange, context)
                if asyncio.iscoroutine(made):
                    made = await made
                status, size = 200, made.ByteSize() if kind is Kind.INFERENCE else 0
                return made
            except RequestError as error:
                status = error.status
                trailing = tuple(error.headers.items())
                code = _CODES.get(status, grpc.StatusCode.INTERNAL)
                await context.abort(code, str(error), trailing)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                status = 500
                self._application.fault(error)
                await context.abort(grpc.StatusCode.INTERNAL, "a fault in the server")
            finally:
                if kind is Kind.INFERENCE:
                    exchange.received = len(data)
                self._application.leave(exchange, kind, status, size)

        return call

    # Inference

    async def _ModelInfer(  # noqa: N802
        self, request: Any, _: Any, exchange: Exchange, context: Any
    ) -> Any:
        model = self._models().find(request.model_name, request.model_version or None)
        exchange.arguments = {
            "model": model.settings.name,
            "version": model.settings.version,
        }
        given = request_of(model, request)
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def deliver(result: Result) -> None:
            if not done.done():
                done.set_result(result)

        job = model.job(given, deliver, exchange.client)
        left = context.time_remaining()
        if left is not None:
            latest = time.monotonic() + left
            job.deadline = latest if job.deadline is None else min(job.deadline, latest)
        scheduler = model.scheduler
        scheduler.submit(job)
        try:
            result = done.result() if done.done() else await done
        except asyncio.CancelledError:
            scheduler.cancel(job)
            raise
        taken = time.perf_counter() - exchange.began
        if isinstance(result, RequestError):
            scheduler.statistics.fail.add(taken)
            raise result
        scheduler.statistics.success.add(taken)
        scheduler.statistics.request_seconds.add(taken)
        return response_of(model, given, result)

    # Health

    def _ServerLive(self, _: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        return response(live=self._routes.live())

    def _ServerReady(self, _: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        return response(ready=self._routes.ready())

    def _ModelReady(self, request: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        return response(ready=self._routes.model_ready(request.name, request.version or None))

    def _Check(self, request: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        status = self._health(request.service)
        if status == _UNKNOWN:
            raise RequestError(404, "this server has no such service")
        return response(status=status)

    def _watching(self, request: Any) -> Callable[[bytes, Any], AsyncIterator[Any]]:
        async def watch(data: bytes, context: Any) -> AsyncIterator[Any]:
            try:
                service = _decoded(request, data).service
            except RequestError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            async for status in self._watch(service):
                yield status

        return watch

    async def _watch(self, service: str) -> AsyncIterator[Any]:
        response = message("grpc.health.v1.HealthCheckResponse")
        told = None
        while True:
            status = self._health(service)
            if status != told:
                told = status
                yield response(status=status)
            await asyncio.sleep(_WATCH_SECONDS)

    def _health(self, service: str) -> int:
        if service not in ("", SERVICE, HEALTH):
            return _UNKNOWN
        return _SERVING if self._routes.ready() else _NOT_SERVING

    # What there is

    def _ServerMetadata(self, _: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        return response(name="packager-runtime", version=VERSION, extensions=EXTENSIONS)

    def _ModelMetadata(self, request: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        (model,) = self._extensions.chosen(request.name, request.version or None)[-1:]
        return response(**model.metadata(self._models().versions(request.name)))

    def _ModelConfig(self, request: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        (model,) = self._extensions.chosen(request.name, request.version or None)[-1:]
        return response(config=model_config(model))

    def _ModelStatistics(self, request: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        chosen = self._extensions.chosen(request.name or None, request.version or None)
        return response(model_stats=[statistics(model) for model in chosen])

    def _RepositoryIndex(self, _: Any, response: Any, *__: Any) -> Any:  # noqa: N802
        return response(models=self._extensions.index())


def _decoded(request: Any, data: bytes) -> Any:
    """The message; raises RequestError (400) for bytes that are none."""
    try:
        return request.FromString(data)
    except DecodeError as error:
        raise bad("this is not the message of the call") from error


def _exchange(name: str, context: Any) -> Exchange:
    metadata = context.invocation_metadata() or ()
    headers = {
        key.encode(): value.encode("latin-1", "replace") if isinstance(value, str) else value
        for key, value in metadata
        if key in ("authorization", "x-api-key", "traceparent")
    }
    exchange = Exchange("POST", f"/{SERVICE}/{name}", b"", headers, _address(context.peer()))
    names = context.auth_context().get("x509_common_name")
    if names:
        exchange.principal = exchange.client = f"cert:{names[0].decode('utf-8', 'replace')}"
    return exchange


def _address(peer: str) -> str:
    """`ipv4:127.0.0.1:1234` → `127.0.0.1`."""
    return peer.partition(":")[2].rpartition(":")[0]
