"""Answers that must follow a grammar: JSON, a JSON schema, a regular expression.

`llguidance` is the library of grammars; it is in the image only when the release asked for it. Its
masks say which tokens may follow. Without it a constrained request is refused, never ignored.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import Array, Constraint
from .settings import GenerativeSettings

_SPACES = {"whitespace_pattern": r"[\x20\x0A\x0D\x09]{0,32}"}
"""Between two parts of a JSON text, room for an indentation and no more: JSON allows any number of
spaces, and a model that is not sure how to go on writes them until its tokens are used up."""

AVAILABLE = importlib.util.find_spec("llguidance") is not None


class Constraints:
    """Makes a constraint for a request; the vocabulary is read when the first one is asked for."""

    def __init__(self, tokenizer: Path, settings: GenerativeSettings) -> None:
        self._path = tokenizer
        self._settings = settings
        self._tokenizer: Any = None

    def make(self, grammar: dict[str, Any] | None) -> Constraint | None:
        """Raises ValueError for a grammar that cannot be used."""
        if grammar is None:
            return None
        if not AVAILABLE:
            raise ValueError("this server was packaged without the library for grammars")
        import llguidance

        if self._tokenizer is None:
            self._tokenizer = llguidance.LLTokenizer(
                self._path.read_text(encoding="utf-8"),
                n_vocab=self._settings.vocabulary,
                eos_token=self._settings.end_tokens[0] if self._settings.end_tokens else None,
            )
        matcher = llguidance.LLMatcher(self._tokenizer, _grammar(llguidance.LLMatcher, grammar))
        if matcher.is_error():
            raise ValueError(f"the grammar cannot be used: {matcher.get_error()[:300]}")
        return _Guided(matcher, self._settings.vocabulary)


class _Guided:
    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary

    def allowed(self) -> Array | None:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        mask: Array = np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)
        return mask

    def took(self, token: int) -> bool:
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


def _grammar(matcher: Any, grammar: dict[str, Any]) -> str:
    if "json_schema" in grammar:
        made: str = matcher.grammar_from_json_schema(grammar["json_schema"], None, _SPACES)
    elif "regex" in grammar:
        made = matcher.grammar_from_regex(grammar["regex"])
    else:
        made = matcher.grammar_from_json_schema({"type": "object"}, None, _SPACES)
    return made
