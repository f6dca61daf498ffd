"""Inference requests over REST: from a body to the queue, and from a result to a body.

Small bodies are read and written in the event loop, since handing them to a thread would cost more
than doing it; large ones, and compressed ones, go to a thread, so that health checks are answered
at any load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from . import body
from .datatypes import Array
from .errors import RequestError
from .exchange import Exchange, Response
from .models import Model, Models
from .protocol import InferenceRequest
from .waiting import Result

_LARGE = 1 << 16
_LARGE_BINARY = 8 << 20
_WORTH_PACKING = 1 << 10
_OCTETS = b"application/octet-stream"
_LENGTH = b"inference-header-content-length"


class Inference:
    """The handler of `/infer`.

    What goes on after the handler has returned (reading in a thread, the queue, writing) ends with
    an answer whatever happens; `told` says what is answered to an unexpected error.
    """

    def __init__(
        self,
        models: Callable[[], Models],
        limit: int,
        helpers: Executor,
        told: Callable[[Exception], RequestError],
    ) -> None:
        self._models = models
        self._limit = limit
        self._helpers = helpers
        self._told = told

    def __call__(self, exchange: Exchange) -> None:
        arguments = exchange.arguments
        model = self._models().find(arguments["model"], arguments.get("version"))
        encoding = exchange.headers.get(b"content-encoding", b"")
        length = _header_length(exchange)
        began = time.perf_counter()
        size = len(exchange.body) if length is None else length
        if encoding or size > _LARGE:
            reading = asyncio.get_running_loop().run_in_executor(
                self._helpers, self._read, model, exchange.body, encoding, length
            )
            reading.add_done_callback(lambda done: self._resume(exchange, model, done, began))
            return
        request = model.requests.parse(exchange.body, length)
        self._submit(exchange, model, request, began)

    def _read(
        self, model: Model, packed: bytes, encoding: bytes, length: int | None
    ) -> InferenceRequest:
        return model.requests.parse(body.unpack(packed, encoding, self._limit), length)

    def _resume(
        self, exchange: Exchange, model: Model, done: asyncio.Future[InferenceRequest], began: float
    ) -> None:
        if exchange.finished:
            done.exception()
            return
        try:
            self._submit(exchange, model, done.result(), began)
        except Exception as error:
            exchange.fail(self._told(error))

    def _submit(
        self, exchange: Exchange, model: Model, request: InferenceRequest, began: float
    ) -> None:
        exchange.body = b""
        scheduler = model.scheduler
        scheduler.statistics.compute_input.add(time.perf_counter() - began)

        def deliver(result: Result) -> None:
            try:
                self._answer(exchange, model, request, result)
            except Exception as error:
                self._fail(exchange, model, error)

        job = model.job(request, deliver, exchange.client)
        exchange.on_gone = lambda: scheduler.cancel(job)
        scheduler.submit(job)

    def _answer(
        self, exchange: Exchange, model: Model, request: InferenceRequest, result: Result
    ) -> None:
        statistics = model.scheduler.statistics
        if exchange.finished:
            return
        if isinstance(result, RequestError):
            self._fail(exchange, model, result)
            return
        accepted = exchange.headers.get(b"accept-encoding")
        coding = body.acceptable(accepted) if accepted else None
        if _is_large(request, result, coding):
            writing = asyncio.get_running_loop().run_in_executor(
                self._helpers, _packed, model, request, result, coding
            )
            writing.add_done_callback(lambda done: self._reply(exchange, model, done))
            return
        began = time.perf_counter()
        response = _rendered(model, request, result)
        now = time.perf_counter()
        statistics.compute_output.add(now - began)
        statistics.success.add(now - exchange.began)
        statistics.request_seconds.add(now - exchange.began)
        exchange.reply(response)

    def _reply(self, exchange: Exchange, model: Model, done: asyncio.Future[Response]) -> None:
        statistics = model.scheduler.statistics
        taken = time.perf_counter() - exchange.began
        try:
            response = done.result()
        except Exception as error:
            self._fail(exchange, model, error)
            return
        statistics.success.add(taken)
        statistics.request_seconds.add(taken)
        exchange.reply(response)

    def _fail(self, exchange: Exchange, model: Model, error: Exception) -> None:
        model.scheduler.statistics.fail.add(time.perf_counter() - exchange.began)
        exchange.fail(self._told(error))


def _is_large(request: InferenceRequest, result: Mapping[str, Array], coding: bytes | None) -> bool:
    """Whether writing it takes so long that a thread should do it."""
    text = size = 0
    for output in request.outputs:
        array = result[output.spec.name]
        size += array.nbytes
        text += 0 if output.binary and not output.classes else array.size
    if coding is not None and (text > _WORTH_PACKING // 8 or size > _WORTH_PACKING):
        return True
    return text > _LARGE // 8 or size > _LARGE_BINARY


def _rendered(model: Model, request: InferenceRequest, result: Mapping[str, Array]) -> Response:
    answer, json_length = model.answers.render(request, result)
    if json_length is None:
        return Response(200, answer)
    return Response(200, answer, _OCTETS, json_length=json_length)


def _packed(
    model: Model, request: InferenceRequest, result: Mapping[str, Array], coding: bytes | None
) -> Response:
    plain = _rendered(model, request, result)
    if coding is None or not isinstance(plain.body, bytes) or len(plain.body) < _WORTH_PACKING:
        return plain
    return Response(
        plain.status,
        body.pack(plain.body, coding),
        plain.content_type,
        ((b"content-encoding", coding), (b"vary", b"accept-encoding")),
        json_length=plain.json_length,
    )


def _header_length(exchange: Exchange) -> int | None:
    value = exchange.headers.get(_LENGTH)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 15:
        raise RequestError(400, "Inference-Header-Content-Length must be a number of bytes")
    return int(value)
