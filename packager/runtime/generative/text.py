"""From tokens to text as it grows: whole characters only, and never a part of a stop string.

A token may end in the middle of a character, and a stop string may begin in one token and end in
another. So text is held back while it could still become something else: an incomplete character,
or the beginning of a stop string.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

_BROKEN = "\ufffd"
_MOST_HELD = 3  # bytes of a character that lacks its last one


class Decode(Protocol):
    """Tokens to text (`tokenizers.Tokenizer.decode`)."""

    def __call__(self, tokens: list[int], /) -> str: ...


class Detokenizer:
    """The text of a growing list of tokens, without decoding all of it every time."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._begin = self._told = 0

    def feed(self, tokens: Sequence[int]) -> str:
        """The text that these tokens complete: the same in sum however they come, one or several
        at a time. A decoder that takes bytes together for broken ones would tell them apart."""
        return "".join([self._feed(token) for token in tokens])

    def _feed(self, token: int) -> str:
        self._tokens.append(token)
        before = self._decode(self._tokens[self._begin : self._told])
        whole = now = self._decode(self._tokens[self._begin :])
        end = len(self._tokens)
        while now.endswith(_BROKEN) and end > self._told and len(self._tokens) - end < _MOST_HELD:
            end -= 1
            now = self._decode(self._tokens[self._begin : end])
        if now.endswith(_BROKEN):
            # No end of it is a whole character: these bytes are no text and will never be.
            end, now = len(self._tokens), whole
        if end == self._told:
            return ""
        # The next text is decoded behind these tokens: some decoders look at what came before.
        self._begin, self._told = self._told, end
        return now[len(before) :]

    def rest(self) -> str:
        """What was held back, when no more tokens come."""
        before = self._decode(self._tokens[self._begin : self._told])
        now = self._decode(self._tokens[self._begin :])
        self._told = len(self._tokens)
        return now[len(before) :]


class StopStrings:
    """Passes text on until a stop string appears; that one and all behind it are swallowed."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        if self.matched is not None:
            return ""
        held = self._held + text
        # The one that is complete first, as it would be if every character came by itself.
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := held.find(stop)) >= 0]
        if found:
            _, at, self.matched = min(found)
            self._held = ""
            return held[:at]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def rest(self) -> str:
        """What was held back, when the text ended without a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
