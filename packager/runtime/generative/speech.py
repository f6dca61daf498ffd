"""One answer as text: from a prompt to pieces of text, with stop strings, usage and logprobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .asked import Asked
from .client import Stream, Worker
from .text import Detokenizer, StopStrings
from .tool_calls import Call, ToolCalls


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, and the end where it came. `tokens` are those that this piece is made of, each
    with its log-probability and the best ones where these were asked for; `calls` of tools come
    with the end."""

    text: str
    finish: str | None
    tokens: tuple[tuple[int, float | None, tuple[tuple[int, float], ...]], ...]
    calls: tuple[Call, ...] = ()


@dataclass
class Usage:
    """Tokens read, said, and read before already."""

    prompt: int = 0
    said: int = 0
    cached: int = 0

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's `usage`."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.said,
            "total_tokens": self.prompt + self.said,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def add(self, other: Usage) -> None:
        self.prompt += other.prompt
        self.said += other.said
        self.cached += other.cached


@dataclass
class Speech:
    """One choice of one request; `pieces` may be run once."""

    worker: Worker
    decode: Any
    asked: Asked
    prompt: tuple[int, ...]
    max_tokens: int
    tenant: str
    seed_offset: int = 0
    usage: Usage = field(default_factory=Usage)

    def begin(self) -> Stream:
        """Hand it to the worker; raises RequestError (429, 503)."""
        sampling = dict(self.asked.sampling)
        if sampling["seed"] is not None:
            sampling["seed"] += self.seed_offset
        self.usage.prompt = len(self.prompt)
        return self.worker.submit(
            {
                "prompt": self.prompt,
                "max_tokens": self.max_tokens,
                "sampling": sampling,
                "tenant": self.tenant,
                "grammar": self.asked.grammar,
                "ignore_end": self.asked.ignore_end,
            }
        )

    async def pieces(self, stream: Stream) -> AsyncIterator[Piece]:
        """The text as it comes; ends with a piece that has a finish. Closes the stream."""
        words = Detokenizer(self.decode)
        stops = StopStrings(self.asked.stops)
        tools = ToolCalls(self.asked.tools)
        try:
            async for event in stream.events():
                tokens = event["tokens"]
                self.usage.said += len(tokens)
                self.usage.cached = event["cached"]
                text = stops.feed(words.feed(tokens))
                finish = event.get("finish")
                if finish is not None and stops.matched is None:
                    text += stops.feed(words.rest())
                    if stops.matched is None:
                        text += stops.rest()
                if stops.matched is not None:
                    finish = "stop"
                text = tools.feed(text)
                calls: tuple[Call, ...] = ()
                if finish is not None:
                    rest, calls = tools.finish()
                    text += rest
                if calls:
                    finish = "tool_calls"
                if text or finish is not None or "logprobs" in event:
                    yield Piece(text, finish, _told(event), calls)
                if finish is not None:
                    return
        finally:
            stream.close()


def _told(
    event: Mapping[str, Any],
) -> tuple[tuple[int, float | None, tuple[tuple[int, float], ...]], ...]:
    if "logprobs" not in event:
        return tuple((token, None, ()) for token in event["tokens"])
    return tuple(
        (token, logprob, tuple((one, value) for one, value in top))
        for token, (logprob, top) in zip(event["tokens"], event["logprobs"], strict=True)
    )
