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
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Reading:
    """One text that is being read. Raises ValueError for a graph that is no such decoder.

    `heads` of `size` are in the cache of a layer: GenAI's builder leaves them open in the graph.
    """

    def __init__(self, session: Any, heads: int, size: int) -> None:
        self._session = session
        self._cache: dict[str, NDArray[Any]] = {}
        self._length = 0
        for node in session.get_inputs():
            if node.name.startswith("past_key_values."):
                if node.type not in _FLOATS or len(node.shape) != 4:
                    raise ValueError(f"{node.name} is no cache of keys and values: {node.type}")
                empty = (1, heads, 0, size)
                self._cache[node.name] = np.zeros(empty, _FLOATS[node.type])
        names = {node.name for node in session.get_inputs()}
        if names != {"input_ids", "attention_mask", *self._cache}:
            raise ValueError(f"inputs are not those of a decoder: {', '.join(sorted(names)[:6])}")
        self._outputs = ["logits", *(_present(name) for name in self._cache)]

    def read(self, tokens: Sequence[int]) -> Logits:
        """Read on; the logits after each token, `[tokens, vocabulary]`."""
        self._length += len(tokens)
        feed = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, self._length), np.int64),
            **self._cache,
        }
        logits, *presents = self._session.run(self._outputs, feed)
        self._cache = dict(zip(self._cache, presents, strict=True))
        rows: Logits = logits[0].astype(np.float32)
        return rows


def open_decoder(graph: str) -> Any:
    """A session on the CPU, one thread: the order of summation must not depend on the machine."""
    return open_session(Path(graph), 1)


def _present(past: str) -> str:
    return past.replace("past_key_values.", "present.", 1)
