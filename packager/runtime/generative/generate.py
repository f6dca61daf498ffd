"""The generate extension: `/v2/models/{model}/generate` and `/generate_stream`.

Source: Triton, "Generate Extension"; the Open Inference Protocol takes it over for text. The body
is `{"text_input": …, "parameters": {…}}`, the answer `{"text_output": …}`; a stream is made of
server-sent events of that form.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import orjson

from ..errors import RequestError, quoted
from ..exchange import Exchange, Response, dump
from ..routes import Kind, Routes
from .asked import read_completion, wrong
from .openai import TextModel, headers
from .speech import Piece, Speech

_EVENTS = b"text/event-stream; charset=utf-8"


# The extension's answer has one text and nothing beside it.
_NOT_HERE = {"n", "logprobs", "stream_options"}


class Generate:
    """The handlers of the extension."""

    def __init__(self, models: Callable[[], dict[str, TextModel]]) -> None:
        self._models = models

    def register(self, routes: Routes) -> None:
        base = "/v2/models/{model}"
        routes.add("POST", f"{base}/generate", self._generate, Kind.INFERENCE)
        routes.add("POST", f"{base}/generate_stream", self._stream, Kind.INFERENCE)

    def _generate(self, exchange: Exchange) -> Coroutine[Any, Any, Response]:
        return self._answer(exchange, stream=False)

    def _stream(self, exchange: Exchange) -> Coroutine[Any, Any, Response]:
        return self._answer(exchange, stream=True)

    async def _answer(self, exchange: Exchange, *, stream: bool) -> Response:
        model = self._models().get(exchange.arguments["model"])
        if model is None:
            raise RequestError(404, f"there is no model {quoted(exchange.arguments['model'])}")
        asked = read_completion(_as_completion(exchange.body, model.settings.name))
        (prompt,) = await model.prompts.read(asked)
        await model.trials.require_bearable(asked.grammar)
        left = model.settings.slot_tokens - len(prompt)
        longest = asked.max_tokens or 16
        if longest > left:
            raise wrong(f"the prompt leaves room for {max(0, left)} tokens", "max_tokens")
        speech = Speech(model.worker, model.decode, asked, prompt, longest, exchange.client)
        pieces = speech.pieces(speech.begin())
        head = _head(model, exchange.id)
        if stream:
            return Response(200, _events(head, pieces), _EVENTS, headers(model))
        text = "".join([piece.text async for piece in pieces])
        return Response(200, dump({**head, "text_output": text}), headers=headers(model))


def _as_completion(body: bytes, model: str) -> bytes:
    """The same request in OpenAI's words, so that both are read by the same rules."""
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise wrong("the body is not JSON") from error
    if not isinstance(asked, dict) or not isinstance(asked.get("text_input"), str):
        raise wrong("must be text", "text_input")
    parameters = asked.get("parameters") or {}
    if not isinstance(parameters, dict) or set(asked) - {"text_input", "parameters", "id"}:
        raise wrong("known are text_input, parameters and id")
    for name in sorted(_NOT_HERE & set(parameters)):
        raise wrong("is not supported by generate; use /v1/completions", name)
    parameters.pop("stream", None)
    # OpenAI's default temperature is 1; this extension's servers answer greedily unless told.
    parameters.setdefault("temperature", 0.0)
    return dump({**parameters, "prompt": asked["text_input"], "model": model})


def _head(model: TextModel, name: str) -> dict[str, Any]:
    return {
        "model_name": model.settings.name,
        "model_version": model.settings.version,
        **model.marks(name),
    }


async def _events(head: dict[str, Any], pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            if piece.text:
                yield b"data: " + dump({**head, "text_output": piece.text}) + b"\n\n"
    except RequestError as error:
        yield b"data: " + dump({"error": str(error)}) + b"\n\n"
