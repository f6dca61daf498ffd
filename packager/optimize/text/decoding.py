"""Runs a decoder on tokens. In worker processes only.

The cache is handed back and forth as arrays, which is slow and simple; what serves is the runtime's
engine. Inputs and outputs are named as ONNX Runtime GenAI's builder names them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from packager.optimize.engine import open_session

Logits = NDArray[np.float32]
_KNOWN = ("input_ids", "attention_mask", "position_ids")
_WHOLE = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Reading:
    """One text that is being read. Raises ValueError for a graph that is no such decoder.

    `heads` of `size` are in the cache of a layer: GenAI's builder leaves them open in the graph.
    `cache` are its inputs and outputs by name, those that the builder gives by default.
    """

    def __init__(
        self, session: Any, heads: int, size: int, cache: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._session = session
        self._cache: dict[str, NDArray[Any]] = {}
        self._length = 0
        presents = dict(cache)
        nodes = {node.name: node for node in session.get_inputs()}
        for name, node in nodes.items():
            if name in presents or name.startswith("past_key_values."):
                if node.type not in _FLOATS or len(node.shape) not in (4, 5):
                    raise ValueError(f"{name} is no cache of keys and values: {node.type}")
                # Keys and values in one: the first dimension tells them apart (GPT-2).
                both = (2,) if len(node.shape) == 5 else ()
                self._cache[name] = np.zeros((*both, 1, heads, 0, size), _FLOATS[node.type])
        odd = set(nodes) - {*_KNOWN, *self._cache}
        if odd or "input_ids" not in nodes:
            raise ValueError(f"inputs are not those of a decoder: {', '.join(sorted(nodes)[:6])}")
        self._types = {name: _WHOLE.get(node.type, np.int64) for name, node in nodes.items()}
        self._outputs = ["logits", *(presents.get(name, _present(name)) for name in self._cache)]

    def read(self, tokens: Sequence[int]) -> Logits:
        """Read on; the logits after each token, `[tokens, vocabulary]`."""
        begin, self._length = self._length, self._length + len(tokens)
        told = {
            "input_ids": [list(tokens)],
            "attention_mask": [[1] * self._length],
            "position_ids": [list(range(begin, self._length))],
        }
        feed: dict[str, NDArray[Any]] = {
            name: np.array(value, self._types[name])
            for name, value in told.items()
            if name in self._types
        }
        feed |= self._cache
        logits, *presents = self._session.run(self._outputs, feed)
        self._cache = dict(zip(self._cache, presents, strict=True))
        rows: Logits = logits[0].astype(np.float32)
        return rows


def open_decoder(graph: str) -> Any:
    """A session on the CPU, one thread: the order of summation must not depend on the machine."""
    return open_session(Path(graph), 1)


def _present(past: str) -> str:
    return past.replace("past_key_values.", "present.", 1)
