"""How answers look: OpenAI's objects for chats and completions, whole and in pieces."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from .asked import Asked
from .speech import Piece, Usage


class Described(Protocol):
    """What a form needs to know of a model: its marks, and the bytes of a token."""

    def marks(self, name: str, /) -> dict[str, Any]: ...
    def token_bytes(self, token: int, /) -> bytes: ...


class Form(ABC):
    """How answers of one kind of request look."""

    prefix = ""
    object = ""

    def __init__(self, name: str, asked: Asked, model: Described) -> None:
        self._asked = asked
        self._model = model
        self._head: dict[str, Any] = {
            "id": name,
            "object": self.object + (".chunk" if asked.stream and self.prefix != "cmpl" else ""),
            "created": int(time.time()),
            "model": asked.model,
        }
        self._head |= model.marks(name)

    def opening(self, number: int) -> list[dict[str, Any]]:  # noqa: ARG002 - chats have one
        """What comes before the first word of a choice."""
        return []

    def chunk(self, number: int, piece: Piece) -> dict[str, Any]:
        usage = {"usage": None} if self._asked.include_usage else {}
        return {**self._head, "choices": [self._choice(number, piece)], **usage}

    def usage(self, usage: Usage) -> dict[str, Any]:
        return {**self._head, "choices": [], "usage": usage.as_dict()}

    def whole(self, answers: Sequence[Sequence[Piece]], usage: Usage) -> dict[str, Any]:
        choices = [
            self._complete(
                number,
                Piece(
                    "".join(piece.text for piece in pieces),
                    pieces[-1].finish,
                    tuple(token for piece in pieces for token in piece.tokens),
                    pieces[-1].calls,
                ),
            )
            for number, pieces in enumerate(answers)
        ]
        return {**self._head, "choices": choices, "usage": usage.as_dict()}

    @abstractmethod
    def _choice(self, number: int, piece: Piece) -> dict[str, Any]:
        """A piece of a choice, or all of it."""

    def _complete(self, number: int, piece: Piece) -> dict[str, Any]:
        return self._choice(number, piece)


class ChatForm(Form):
    prefix, object = "chatcmpl", "chat.completion"

    def opening(self, number: int) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": ""}
        choice = {"index": number, "delta": delta, "finish_reason": None}
        return [{**self._head, "choices": [choice]}]

    def _choice(self, number: int, piece: Piece) -> dict[str, Any]:
        delta: dict[str, Any] = {"content": piece.text} if piece.text else {}
        if piece.calls:
            delta["tool_calls"] = [
                {"index": place, **call.as_dict()} for place, call in enumerate(piece.calls)
            ]
        return self._with_logprobs(
            {"index": number, "delta": delta, "finish_reason": piece.finish}, piece
        )

    def _complete(self, number: int, piece: Piece) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": piece.text}
        if piece.calls:
            message["content"] = piece.text or None
            message["tool_calls"] = [call.as_dict() for call in piece.calls]
        return self._with_logprobs(
            {"index": number, "message": message, "finish_reason": piece.finish}, piece
        )

    def _with_logprobs(self, choice: dict[str, Any], piece: Piece) -> dict[str, Any]:
        if self._asked.logprobs is None:
            return {**choice, "logprobs": None}
        content = [
            {
                **self._token(token, logprob),
                "top_logprobs": [self._token(one, value) for one, value in top],
            }
            for token, logprob, top in piece.tokens
        ]
        return {**choice, "logprobs": {"content": content}}

    def _token(self, token: int, logprob: float | None) -> dict[str, Any]:
        data = self._model.token_bytes(token)
        return {"token": _text(data), "logprob": logprob, "bytes": list(data)}


class TextForm(Form):
    prefix, object = "cmpl", "text_completion"

    def _choice(self, number: int, piece: Piece) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": number,
            "text": piece.text,
            "finish_reason": piece.finish,
            "logprobs": None,
        }
        if self._asked.logprobs is not None:
            texts = [_text(self._model.token_bytes(token)) for token, _, _ in piece.tokens]
            choice["logprobs"] = {
                "tokens": texts,
                "token_logprobs": [logprob for _, logprob, _ in piece.tokens],
                "top_logprobs": [
                    {_text(self._model.token_bytes(one)): value for one, value in top}
                    for _, _, top in piece.tokens
                ],
            }
        return choice


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
