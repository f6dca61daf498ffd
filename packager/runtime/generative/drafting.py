"""Guessing the next tokens, and knowing when that does not pay.

`PromptLookup` takes what followed the last time that the same few tokens stood in the text (Saxena
2023, "Prompt Lookup Decoding"); `ModelDrafter` asks a small model with the same vocabulary, on one
thread, since two thread pools on the same cores cost more than guessing gains. The `Controller`
weighs what a guessed step yields against what it costs, switches guessing off where it loses, and
tries again later, each time a little later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .decoder import SlotDecoder

_LEARNING = 0.2
_WORTH_IT = 1.03
_TRIALS = 6
_FIRST_PAUSE = 64
_LONGEST_PAUSE = 1024


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

    def __init__(self, decoder: SlotDecoder) -> None:
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
        decoder.lengths[slot] = same
        logits = decoder.read(slot, tokens[same:])[-1]
        guesses = [int(logits.argmax())]
        while len(guesses) < most:
            logits = decoder.read(slot, guesses[-1:])[-1]
            guesses.append(int(logits.argmax()))
        self._read[slot] = [*tokens, *guesses[:-1]]
        return guesses

    def forget(self, slot: int) -> None:
        self._read.pop(slot, None)
        self._decoder.lengths[slot] = 0


class Controller:
    """Decides whether to guess. Times are seconds; a plain step yields one token."""

    def __init__(self) -> None:
        self.drafted = self.accepted = 0
        self.gain = 1.5
        self._plain: float | None = None
        self._pause = 0
        self._next_pause = _FIRST_PAUSE
        self._tried = 0

    @property
    def wanted(self) -> bool:
        return self._pause <= 0

    def plain(self, seconds: float) -> None:
        """A step without guesses took this long, for one conversation alone."""
        self._plain = seconds if self._plain is None else _mixed(self._plain, seconds)
        self._pause -= 1

    @property
    def knows_plain(self) -> bool:
        """Whether there is anything to compare with; without it the next step is a plain one."""
        return self._plain is not None

    def guessed(self, drafted: int, accepted: int, seconds: float) -> None:
        """A step with guesses: so many drafted and accepted, in all this time."""
        self.drafted += drafted
        self.accepted += accepted
        if self._plain is None or not drafted:
            return
        self.gain = _mixed(self.gain, (accepted + 1) * self._plain / seconds)
        self._tried += 1
        if self._tried >= _TRIALS and self.gain < _WORTH_IT:
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
            # The next trial begins with the benefit of the doubt, and ends sooner.
            self.gain, self._tried = 1.2, _TRIALS - 3
        elif self.gain >= _WORTH_IT and self._tried >= 4 * _TRIALS:
            self._next_pause = _FIRST_PAUSE


def _mixed(old: float, new: float) -> float:
    return (1 - _LEARNING) * old + _LEARNING * new
