"""ModelInfer: from a message to the queue, and from a result to a message.

Small messages are read and written in the event loop, large and compressed ones in a thread, as
over REST.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from google.protobuf.message import DecodeError

from ..datatypes import Array
from ..errors import RequestError
from ..models import Models
from ..tensors import bad
from ..waiting import Result
from .call import Call
from .conversion import request_of
from .framing import PREFIX, unframed
from .known_messages import Answers, Known, KnownRequests, is_fixed
from .messages import message

_Request = message("inference.ModelInferRequest")
_LARGE = 1 << 18
_LARGE_ANSWER = 8 << 20
_MANY_VALUES = 1 << 13  # of an output whose classes are asked for


class Inference:
    """The handler of ModelInfer; `answer` takes a call and its framed message, and `told` says what
    a call is told that an unexpected error has ended. Only that call: the others of its batch, and
    of its connection, go on."""

    def __init__(
        self,
        models: Callable[[], Models],
        most: int,
        helpers: Executor,
        answer: Callable[[Call, bytes], None],
        told: Callable[[Exception], RequestError],
    ) -> None:
        self._models = models
        self._most = most
        self._helpers = helpers
        self._answer = answer
        self._told = told
        self._known = KnownRequests()
        self._answers = Answers()

    def __call__(self, call: Call, data: bytes) -> None:
        began = time.perf_counter()
        known = self._known.read(data)
        if known is not None:
            _name(call, known)
            self._submit(call, known, began)
        elif len(data) > _LARGE or data[:1] == b"\1":
            reading = asyncio.get_running_loop().run_in_executor(
                self._helpers, self._read, call, data
            )
            reading.add_done_callback(lambda done: self._resume(call, data, done, began))
        else:
            known, given = self._read(call, data)
            self._learn(data, given, known)
            self._submit(call, known, began)

    def _read(self, call: Call, data: bytes) -> tuple[Known, Any]:
        """The request in full, and the message that it came in."""
        try:
            given = _Request.FromString(unframed(data, call.plan.coding, self._most))
        except DecodeError as error:
            raise bad("this is not the message of the call") from error
        model = self._models().find(given.model_name, given.model_version or None)
        call.arguments = {"model": model.settings.name, "version": model.settings.version}
        return Known(model, request_of(model, given)), given

    def _learn(self, data: bytes, given: Any, known: Known) -> None:
        if not data[0] and is_fixed(known.model):
            self._known.learn(data, given, known)

    def _resume(
        self, call: Call, data: bytes, done: asyncio.Future[tuple[Known, Any]], began: float
    ) -> None:
        if call.finished:
            done.exception()
            return
        try:
            known, given = done.result()
            self._learn(data, given, known)
            self._submit(call, known, began)
        except Exception as error:
            call.fail(self._told(error))

    def _submit(self, call: Call, known: Known, began: float) -> None:
        model, request = known
        scheduler = model.scheduler
        scheduler.statistics.compute_input.add(time.perf_counter() - began)
        job = model.job(request, lambda result: self._deliver(call, known, result), call.client)
        if call.plan.timeout is not None:
            left = call.plan.timeout - (time.perf_counter() - call.began)
            job.gone = time.monotonic() + left
        call.on_gone = lambda: scheduler.cancel(job)
        scheduler.submit(job)

    def _deliver(self, call: Call, known: Known, result: Result) -> None:
        try:
            self._write(call, known, result)
        except Exception as error:
            self._fail(call, known, error)

    def _write(self, call: Call, known: Known, result: Result) -> None:
        if call.finished:
            return
        statistics = known.model.scheduler.statistics
        if isinstance(result, RequestError):
            self._fail(call, known, result)
        elif _is_large(known, result):
            writing = asyncio.get_running_loop().run_in_executor(
                self._helpers, self._answers.write, known.model, known.request, result
            )
            writing.add_done_callback(lambda done: self._written(call, known, done))
        else:
            began = time.perf_counter()
            answer = self._answers.write(known.model, known.request, result)
            statistics.compute_output.add(time.perf_counter() - began)
            self._tell(call, known, answer)

    def _written(self, call: Call, known: Known, done: asyncio.Future[bytes]) -> None:
        try:
            self._tell(call, known, done.result())
        except Exception as error:
            self._fail(call, known, error)

    def _fail(self, call: Call, known: Known, error: Exception) -> None:
        known.model.scheduler.statistics.fail.add(time.perf_counter() - call.began)
        call.fail(self._told(error))

    def _tell(self, call: Call, known: Known, answer: bytes) -> None:
        statistics = known.model.scheduler.statistics
        taken = time.perf_counter() - call.began
        statistics.success.add(taken)
        statistics.request_seconds.add(taken)
        self._answer(call, answer)


def _name(call: Call, known: Known) -> None:
    settings = known.model.settings
    call.arguments = {"model": settings.name, "version": settings.version}


def _is_large(known: Known, result: Mapping[str, Array]) -> bool:
    """Whether writing it takes so long that a thread should do it."""
    size = 0
    for output in known.request.outputs:
        array = result[output.spec.name]
        size += array.nbytes
        if output.classes and array.size > _MANY_VALUES:
            return True
    return size > _LARGE_ANSWER


def received(data: bytes) -> int:
    """Bytes of the message in a frame."""
    return max(0, len(data) - PREFIX)
