"""OpenAI-compatible routes: `/v1/chat/completions`, `/v1/completions`.

Streams are server-sent events: the role first, then text, the reason of the end, the usage where it
was asked for, and `[DONE]`. Errors have OpenAI's shape. The marker that a jurisdiction may demand
on what a machine wrote (EU AI Act, article 50; China's labelling measures) travels in a header and
in every object.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import RequestError, openai_error, quoted
from ..exchange import Exchange, Response, dump
from ..routes import Kind, Routes
from .asked import Asked, read_chat, read_completion, wrong
from .client import Worker
from .forms import ChatForm, Form, TextForm
from .prompts import Prompts
from .settings import GenerativeSettings
from .speech import Piece, Speech, Usage
from .token_bytes import TokenBytes
from .trials import Trials

_EVENTS = b"text/event-stream; charset=utf-8"
_DONE = b"data: [DONE]\n\n"
MARKER_HEADER = b"x-ai-generated"


class TextModel:
    """A generative model in service: its worker, and how it is asked."""

    def __init__(
        self, configuration: Path, settings: GenerativeSettings, worker: Worker, helpers: Executor
    ) -> None:
        self.settings = settings
        self.worker = worker
        self.prompts = Prompts(configuration.parent, settings, helpers)
        self.trials = Trials(configuration, settings)
        self.token_bytes = TokenBytes(self.prompts.tokenizer)

    def marks(self, name: str) -> dict[str, Any]:
        """What a jurisdiction wants every object of the answer `name` to say. The label is that of
        GB 45438-2025, annex E: made by a machine, by whom, and which one."""
        marks = self.settings.marks
        said: dict[str, Any] = {} if marks.text is None else {"ai_generated": marks.text}
        if marks.producer is not None:
            said["AIGC"] = {"Label": "1", "ContentProducer": marks.producer, "ProduceID": name}
        return said

    def decode(self, tokens: list[int]) -> str:
        text: str = self.prompts.tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class OpenAi:
    """The handlers of `/v1`."""

    def __init__(self, models: Callable[[], dict[str, TextModel]]) -> None:
        self._models = models
        self._prefix = os.urandom(6).hex()
        self._numbers = count(1)

    def register(self, routes: Routes) -> None:
        routes.add("POST", "/v1/chat/completions", self._chat, Kind.INFERENCE)
        routes.add("POST", "/v1/completions", self._complete, Kind.INFERENCE)

    def _chat(self, exchange: Exchange) -> Coroutine[Any, Any, Response | None]:
        return self._answer(exchange, read_chat, ChatForm)

    def _complete(self, exchange: Exchange) -> Coroutine[Any, Any, Response | None]:
        return self._answer(exchange, read_completion, TextForm)

    async def _answer(
        self, exchange: Exchange, read: Callable[[bytes], Asked], form: type[Form]
    ) -> Response | None:
        asked = read(exchange.body)
        exchange.body = b""
        model = self._models().get(asked.model)
        if model is None:
            raise _unknown(asked.model)
        prompts = await model.prompts.read(asked)
        await model.trials.require_bearable(asked.grammar)
        speeches = _speeches(model, asked, prompts, exchange.client)
        shape = form(f"{form.prefix}-{self._prefix}{next(self._numbers)}", asked, model)
        # All are handed over before the first word is said: a full queue is a status still.
        streams = [speech.begin() for speech in speeches]
        running = list(zip(speeches, streams, strict=True))
        if asked.stream:
            first = await _first(running[0]) if len(running) == 1 else None
            body = _events(shape, running, asked, first)
            return Response(200, body, _EVENTS, headers(model))
        return await _whole(shape, running, model)


def _speeches(
    model: TextModel, asked: Asked, prompts: Sequence[tuple[int, ...]], tenant: str
) -> list[Speech]:
    room = model.settings.slot_tokens
    speeches = []
    for number, prompt in enumerate(prompts):
        left = room - len(prompt)
        longest = left if asked.max_tokens is None else asked.max_tokens
        if left < 1 or longest > left:
            raise wrong(
                f"this model holds {room} tokens; the prompt has {len(prompt)} and the answer may"
                f" have {longest if asked.max_tokens else 'at least 1'}"
            )
        speeches += [
            Speech(
                model.worker,
                model.decode,
                asked,
                prompt,
                longest,
                tenant,
                number * asked.choices + choice,
            )
            for choice in range(asked.choices)
        ]
    return speeches


Running = Sequence[tuple[Speech, Any]]


async def _first(running: tuple[Speech, Any]) -> tuple[AsyncIterator[Piece], Piece | None]:
    """The first piece, so that what the worker refuses is still a status."""
    pieces = running[0].pieces(running[1])
    async for piece in pieces:
        return pieces, piece
    return pieces, None


async def _whole(shape: Form, running: Running, model: TextModel) -> Response:
    async def gathered(speech: Speech, stream: Any) -> list[Piece]:
        return [piece async for piece in speech.pieces(stream)]

    tasks = [asyncio.ensure_future(gathered(*pair)) for pair in running]
    try:
        answers = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        for _, stream in running:
            stream.close()
    body = shape.whole(answers, _total(running))
    return Response(200, dump(body), headers=headers(model))


async def _events(
    shape: Form,
    running: Running,
    asked: Asked,
    first: tuple[AsyncIterator[Piece], Piece | None] | None,
) -> AsyncIterator[bytes]:
    """All choices as they come, in one stream; ends early with an error in OpenAI's shape."""
    begun = [first[0] if first else speech.pieces(stream) for speech, stream in running]
    for number in range(len(begun)):
        for opening in shape.opening(number):
            yield _event(opening)
    if first and first[1]:
        yield _event(shape.chunk(0, first[1]))
    try:
        async for number, piece in _merged(begun):
            yield _event(shape.chunk(number, piece))
    except RequestError as error:
        yield _event(openai_error(error))
        return
    finally:
        for _, stream in running:
            stream.close()
    if asked.include_usage:
        yield _event(shape.usage(_total(running)))
    yield _DONE


async def _merged(
    sources: Sequence[AsyncIterator[Piece]],
) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of several choices in the order in which they come."""
    queue: asyncio.Queue[tuple[int, Piece | RequestError | None]] = asyncio.Queue()

    async def pump(number: int, pieces: AsyncIterator[Piece]) -> None:
        try:
            async for piece in pieces:
                queue.put_nowait((number, piece))
        except RequestError as error:
            queue.put_nowait((number, error))
        queue.put_nowait((number, None))

    tasks = [asyncio.ensure_future(pump(number, one)) for number, one in enumerate(sources)]
    left = len(tasks)
    try:
        while left:
            number, piece = await queue.get()
            if isinstance(piece, RequestError):
                raise piece
            if piece is None:
                left -= 1
            else:
                yield number, piece
    finally:
        for task in tasks:
            task.cancel()


def _total(running: Running) -> Usage:
    """The usage of all choices; a prompt that several choices share counts once."""
    total = Usage()
    for number, (speech, _) in enumerate(running):
        usage = speech.usage
        first = number % speech.asked.choices == 0
        total.add(Usage(usage.prompt if first else 0, usage.said, usage.cached if first else 0))
    return total


def headers(model: TextModel) -> tuple[tuple[bytes, bytes], ...]:
    """Of every answer: not to be kept by whoever passes it on, and marked where a law says so."""
    marker = model.settings.marks.text
    marked = () if marker is None else ((MARKER_HEADER, marker.encode("ascii")),)
    return ((b"cache-control", b"no-store"), *marked)


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + dump(value) + b"\n\n"


def _unknown(name: str) -> RequestError:
    return RequestError(404, f"there is no model {quoted(name)}")
