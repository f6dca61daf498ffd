"""Texts and images instead of tensors: `/v1/embeddings` and `…/classify`.

`/v1/embeddings` is what OpenAI's clients speak (API reference, "Create embeddings"; `input` as text
or list of texts, `encoding_format` float or base64). `…/classify` takes
`{"input": …}` with texts, or an image as the body itself, and gives the classes by probability. The
steps run in a thread; the model is asked through the same queue as every other request.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
import orjson

from . import body
from .datatypes import Array
from .errors import RequestError, quoted
from .exchange import Exchange, Response
from .images import Images
from .lifecycle import Lifecycle
from .models import Model, Models
from .protocol import InferenceRequest, RequestedOutput, Schedule
from .routes import Kind, Routes
from .serving_settings import Serving, Task
from .tensors import bad
from .texts import Tokens, pooled
from .waiting import Result

_MOST_TEXTS = 2048
_MOST_CLASSES = 5


class Meaning:
    """The handlers. A model takes part when its steps are declared."""

    def __init__(
        self, models: Callable[[], Models], lifecycle: Lifecycle, limit: int, helpers: Executor
    ) -> None:
        self._models = models
        self._lifecycle = lifecycle
        self._limit = limit
        self._helpers = helpers

    def register(self, routes: Routes, tasks: set[Task]) -> None:
        """Enter the paths of the tasks that are declared; without any there is nothing to add."""
        if Task.EMBEDDINGS in tasks:
            routes.add("POST", "/v1/embeddings", self._embeddings, Kind.INFERENCE)
        if tasks - {Task.EMBEDDINGS}:
            path = "/v2/models/{model}/classify"
            routes.add("POST", path, self._classify, Kind.INFERENCE)

    def listed(self) -> dict[str, dict[str, Any]]:
        """The models for `/v1/models`; raises RequestError (503) before they are loaded."""
        self._lifecycle.require_started()
        return {name: {} for name in self._models().by_name}

    async def _embeddings(self, exchange: Exchange) -> Response:
        document = self._document(exchange)
        model, serving = self._model(document.get("model"), {Task.EMBEDDINGS})
        encoding = document.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise bad("encoding_format must be float or base64")
        if document.get("dimensions") is not None:
            raise bad("dimensions: this model has vectors of one size only")
        texts = _texts(document.get("input"))
        pieces, count = await self._aside(_tokens(model).pieces, texts)
        vectors: list[Array] = [np.empty(0)] * len(texts)
        for piece in pieces:
            found = await self._asked(model, serving, piece.inputs, exchange)
            rows = await self._aside(pooled, found, piece.mask, serving)
            for place, row in zip(piece.places, rows, strict=True):
                vectors[place] = row
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                if encoding == "base64"
                else vector,
            }
            for index, vector in enumerate(vectors)
        ]
        return Response.of(
            {
                "object": "list",
                "data": data,
                "model": model.settings.name,
                "usage": {"prompt_tokens": count, "total_tokens": count},
            }
        )

    async def _classify(self, exchange: Exchange) -> Response:
        model, serving = self._model(exchange.arguments["model"], set(Task) - {Task.EMBEDDINGS})
        predictions: dict[int, list[dict[str, object]]] = {}
        async for places, inputs in self._inputs(model, serving, exchange):
            scores = await self._asked(model, serving, inputs, exchange)
            classes = await self._aside(_classes, scores, serving.labels)
            predictions.update(zip(places, classes, strict=True))
        return Response.of(
            {
                "model_name": model.settings.name,
                "model_version": model.settings.version,
                "predictions": [predictions[place] for place in range(len(predictions))],
            }
        )

    async def _inputs(
        self, model: Model, serving: Serving, exchange: Exchange
    ) -> AsyncIterator[tuple[Sequence[int], dict[str, Array]]]:
        """What the model is asked of a request, one run after the other, and its places in it."""
        if serving.task is not Task.IMAGE_CLASSIFICATION:
            texts = _texts(self._document(exchange).get("input"))
            pieces, _ = await self._aside(_tokens(model).pieces, texts)
            for piece in pieces:
                yield piece.places, piece.inputs
            return
        images, pictures = _images(model), self._pictures(exchange)
        for places in images.pieces(len(pictures)):
            some = pictures[places.start : places.stop]
            yield places, await self._aside(images.inputs, some)

    def _model(self, name: Any, tasks: set[Task]) -> tuple[Model, Serving]:
        if type(name) is not str:
            raise bad("model must be text")
        model = self._models().find(name, None)
        serving = model.settings.serving
        if serving is None or serving.task not in tasks:
            raise bad(f"model {quoted(name)} is not made for this")
        return model, serving

    def _pictures(self, exchange: Exchange) -> list[bytes]:
        kind = exchange.headers.get(b"content-type", b"").split(b";")[0].strip()
        if kind != b"application/json":
            return [exchange.body]
        given = self._document(exchange).get("input")
        entries = _texts(given)
        try:
            return [base64.b64decode(entry, validate=True) for entry in entries]
        except ValueError as error:  # of two kinds: what is not ASCII is another one
            raise bad("input is not base64") from error

    def _document(self, exchange: Exchange) -> dict[str, Any]:
        encoding = exchange.headers.get(b"content-encoding", b"")
        try:
            document = orjson.loads(body.unpack(exchange.body, encoding, self._limit))
        except ValueError as error:
            raise bad(f"the request is not JSON: {error}") from error
        if type(document) is not dict:
            raise bad("the request must be an object")
        return document

    async def _aside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._helpers, function, *arguments)

    async def _asked(
        self, model: Model, serving: Serving, inputs: dict[str, Array], exchange: Exchange
    ) -> Array:
        """The output that is looked at; raises RequestError."""
        specs = {spec.name: spec for spec in model.settings.outputs}
        spec = specs[serving.output] if serving.output else model.settings.outputs[0]
        request = InferenceRequest(None, inputs, (RequestedOutput(spec, True),), Schedule())
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def deliver(result: Result) -> None:
            if not done.done():
                done.set_result(result)

        job = model.job(request, deliver, exchange.client)
        model.scheduler.submit(job)
        try:
            result = await done
        except asyncio.CancelledError:
            model.scheduler.cancel(job)
            raise
        statistics, taken = model.scheduler.statistics, time.perf_counter() - exchange.began
        if isinstance(result, RequestError):
            statistics.fail.add(taken)
            raise result
        statistics.success.add(taken)
        statistics.request_seconds.add(taken)
        return result[spec.name]


def _tokens(model: Model) -> Tokens:
    if not isinstance(model.steps, Tokens):
        raise bad("this model takes no texts")
    return model.steps


def _images(model: Model) -> Images:
    if not isinstance(model.steps, Images):
        raise bad("this model takes no images")
    return model.steps


def _texts(given: Any) -> list[str]:
    texts = [given] if type(given) is str else given
    if type(texts) is not list or not texts or any(type(text) is not str for text in texts):
        raise bad("input must be a text, or a list of texts")
    if len(texts) > _MOST_TEXTS:
        raise bad(f"input must be at most {_MOST_TEXTS} texts")
    return texts


def _classes(scores: Array, labels: tuple[str, ...]) -> list[list[dict[str, object]]]:
    """For each row the likeliest classes: softmax of the scores, highest first."""
    wide = scores.reshape(len(scores), -1).astype(np.float64)
    weights = np.exp(wide - wide.max(axis=1, keepdims=True))
    shares = weights / weights.sum(axis=1, keepdims=True)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :_MOST_CLASSES]
    return [
        [
            {
                "label": labels[place] if place < len(labels) else str(place),
                "score": float(row[place]),
            }
            for place in places.tolist()
        ]
        for row, places in zip(shares, best, strict=True)
    ]
