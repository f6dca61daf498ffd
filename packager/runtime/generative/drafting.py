"""Guessing the next tokens.

`PromptLookup` takes what followed the last time that the same few tokens stood in the text (Saxena
2023, "Prompt Lookup Decoding"); `ModelDrafter` asks a small model with the same vocabulary, on one
thread, since two thread pools on the same cores cost more than guessing gains. How many guesses pay
is the business of `controller`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from .jobs import Decoder

Array = np.ndarray[Any, Any]

_CONFIDENT = 0.3
"""A guess to which the draft gives less is not worth reading; from 0.2 to 0.45 it is much the
same (docs/generative.md)."""


class Drafter(Protocol):
    """Guesses for the conversations of one engine, by slot."""

    def guess(self, slot: int, tokens: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may follow `tokens`, all that was read and said so far."""

    def forget(self, slot: int) -> None:
        """The slot has another conversation now."""


class PromptLookup:
    """An index of every `n` tokens to the place behind them, grown as the text grows."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._index: dict[int, dict[tuple[int, ...], int]] = {}
        self._done: dict[int, int] = {}

    def guess(self, slot: int, tokens: Sequence[int], most: int) -> list[int]:
        n = self._n
        index = self._index.setdefault(slot, {})
        # The last n tokens are not entered before something follows them.
        for end in range(max(n, self._done.get(slot, n)), len(tokens)):
            index[tuple(tokens[end - n : end])] = end
        self._done[slot] = len(tokens)
        found = index.get(tuple(tokens[-n:]))
        return [] if found is None else list(tokens[found : found + most])

    def forget(self, slot: int) -> None:
        self._index.pop(slot, None)
        self._done.pop(slot, None)


class ModelDrafter:
    """A small decoder that keeps up with the conversation and says what it would say."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._read: dict[int, list[int]] = {}

    def guess(self, slot: int, tokens: Sequence[int], most: int) -> list[int]:
        decoder = self._decoder
        known = self._read.setdefault(slot, [])
        if len(tokens) + most >= decoder.slot_tokens:
            return []
        same = 0
        for one, other in zip(known, tokens, strict=False):
            if one != other:
                break
            same += 1
        same = min(same, len(tokens) - 1)
        decoder.back_to(slot, same)
        guesses: list[int] = []
        logits = decoder.read(slot, tokens[same:])[-1]
        while (guess := _likely(logits)) is not None:
            guesses.append(guess)
            if len(guesses) == most:
                break
            logits = decoder.read(slot, guesses[-1:])[-1]
        read = decoder.lengths[slot] - len(tokens)
        self._read[slot] = [*tokens, *guesses[:read]]
        return guesses

    def forget(self, slot: int) -> None:
        self._read.pop(slot, None)
        self._decoder.back_to(slot, 0)


def _likely(logits: Array) -> int | None:
    """The likeliest token, where its share in the softmax is large enough."""
    token = logits.argmax()
    others = logits - logits[token]
    return int(token) if np.exp(others, out=others).sum() * _CONFIDENT <= 1 else None
