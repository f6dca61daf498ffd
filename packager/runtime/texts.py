"""Texts into tokens, and vectors of tokens into one vector.

The tokenizer is a `tokenizer.json` of the library `tokenizers`, read from the bytes whose digest
was checked. What a model is fed depends on the names of its inputs, the same in every export of an
encoder: `input_ids`, `attention_mask`, `token_type_ids`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .configuration import ModelSettings
from .datatypes import Array
from .errors import ExitCode, Refusal, RequestError
from .serving_settings import Pooling, Serving

_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"
_KNOWN = {_IDS, _MASK, _TYPES}
# Of one run, padding included: what a layer holds for a text grows with the square of its tokens.
MOST_TOKENS = 8192


class Piece(NamedTuple):
    """Some of the texts of a request, by their places in it: the model's inputs of [texts, tokens]
    by name, and 1 in the mask where a token is, 0 where it was padded."""

    places: tuple[int, ...]
    inputs: dict[str, Array]
    mask: Array


class Tokens:
    """Makes a model's inputs of texts; from several threads at once."""

    def __init__(self, settings: ModelSettings, max_tokens: int, data: bytes) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise Refusal(
                ExitCode.CONFIGURATION, f"{settings}: texts need the library tokenizers"
            ) from error
        strangers = [spec.name for spec in settings.inputs if spec.name not in _KNOWN]
        if strangers or _IDS not in {spec.name for spec in settings.inputs}:
            raise Refusal(
                ExitCode.CONFIGURATION,
                f"{settings}: a model of texts has the inputs {_IDS}, {_MASK} and {_TYPES};"
                f" this one has {', '.join(spec.name for spec in settings.inputs)}",
            )
        try:
            self._tokenizer: Any = Tokenizer.from_str(data.decode())
            self._tokenizer.enable_truncation(max_tokens)
            self._tokenizer.no_padding()
        except Exception as error:
            raise Refusal(
                ExitCode.DATA, f"{settings}: the tokenizer cannot be read: {type(error).__name__}"
            ) from error
        self._masked = _MASK in {spec.name for spec in settings.inputs}
        self._inputs = {spec.name: spec.datatype.dtype for spec in settings.inputs}

    def pieces(self, texts: Sequence[str]) -> tuple[list[Piece], int]:
        """What the model is asked, in runs of bounded size, and how many tokens there are in all.

        Texts of like length go together, so that little is padded; a model that is not told what
        was padded gets texts of one length at a time, and no padding.
        """
        rows = self._tokenizer.encode_batch(list(texts))
        lengths = [len(row.ids) for row in rows]
        pieces, places = [], list[int]()
        for place in sorted(range(len(rows)), key=lengths.__getitem__):
            length = lengths[place]
            full = places and (len(places) + 1) * length > MOST_TOKENS
            if full or (places and not self._masked and length != lengths[places[0]]):
                pieces.append(self._piece(rows, places))
                places = []
            places.append(place)
        pieces.append(self._piece(rows, places))
        return pieces, sum(lengths)

    def _piece(self, rows: Sequence[Any], places: list[int]) -> Piece:
        longest = len(rows[places[-1]].ids)
        parts = {name: np.zeros((len(places), longest), np.int64) for name in _KNOWN}
        for number, place in enumerate(places):
            row = rows[place]
            count = len(row.ids)
            parts[_IDS][number, :count] = row.ids
            parts[_MASK][number, :count] = 1
            parts[_TYPES][number, :count] = row.type_ids
        inputs = {
            name: parts[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()
        }
        return Piece(tuple(places), inputs, parts[_MASK])


def pooled(vectors: Array, mask: Array, serving: Serving) -> Array:
    """FP32 [texts, size] of FP [texts, tokens, size], or of [texts, size] as it is."""
    wide = vectors.astype(np.float32, copy=False)
    if wide.ndim == 3:
        if serving.pooling is Pooling.NONE:
            raise RequestError(500, "the model gives a vector a token, and no pooling is declared")
        if serving.pooling is Pooling.FIRST:
            wide = wide[:, 0]
        else:
            weights = mask.astype(np.float32)[:, :, None]
            wide = (wide * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
    if serving.normalize:
        wide = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(wide)
