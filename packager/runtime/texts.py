"""Texts into tokens, and vectors of tokens into one vector.

The tokenizer is a `tokenizer.json` of the library `tokenizers`, read from the bytes whose digest
was checked. What a model is fed depends on the names of its inputs, the same in every export of an
encoder: `input_ids`, `attention_mask`, `token_type_ids`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .configuration import ModelSettings
from .datatypes import Array
from .errors import ExitCode, Refusal, RequestError
from .serving_settings import Pooling, Serving

_IDS, _MASK, _TYPES = "input_ids", "attention_mask", "token_type_ids"
_KNOWN = {_IDS, _MASK, _TYPES}


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
            self._tokenizer.enable_padding()
        except Exception as error:
            raise Refusal(
                ExitCode.DATA, f"{settings}: the tokenizer cannot be read: {type(error).__name__}"
            ) from error
        self._inputs = {spec.name: spec.datatype.dtype for spec in settings.inputs}

    def inputs(self, texts: Sequence[str]) -> tuple[dict[str, Array], int]:
        """Arrays of [texts, tokens] by input name, and how many tokens there are altogether."""
        encoded = self._tokenizer.encode_batch(list(texts))
        parts = {
            _IDS: [one.ids for one in encoded],
            _MASK: [one.attention_mask for one in encoded],
            _TYPES: [one.type_ids for one in encoded],
        }
        arrays = {name: np.array(parts[name], dtype) for name, dtype in self._inputs.items()}
        return arrays, sum(sum(row) for row in parts[_MASK])

    def mask(self, inputs: dict[str, Array]) -> Array:
        """1 where a token is, 0 where it was padded."""
        found = inputs.get(_MASK)
        return np.ones_like(inputs[_IDS]) if found is None else found


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
