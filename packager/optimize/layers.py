"""Where a candidate loses: the signal-to-quantization-noise ratio of each tensor that it kept.

Both graphs run on the same samples with every float tensor of the same name as an output. Fused or
renamed tensors have no twin and are not told. Runs in worker processes only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from packager.optimize.half_precision import float_names
from packager.optimize.ranges import open_with_outputs
from packager.optimize.samples import Feed

TENSORS_AT_MOST = 120
EQUAL_DB = 200.0
"""What is told of a tensor that is equal in both."""


def layer_sqnr(source: Path, candidate: Path, feeds: Iterable[Feed]) -> list[tuple[str, float]]:
    """Tensor and its ratio in decibels, in the order of the source graph.

    Of more than `TENSORS_AT_MOST` common tensors evenly many are left out.
    """
    ours, theirs = _graph(source), _graph(candidate)
    common = float_names(ours) & float_names(theirs)
    names = [name for node in ours.graph.node for name in node.output if name in common]
    names = names[:: max(1, math.ceil(len(names) / TENSORS_AT_MOST))]
    if not names:
        return []
    sessions = [
        open_with_outputs(proto, names, file.with_name(f"layers-{file.name}"), file)
        for proto, file in ((ours, source), (theirs, candidate))
    ]
    signal, noise = np.zeros(len(names)), np.zeros(len(names))
    for feed in feeds:
        exact, found = (session.run(names, feed) for session in sessions)
        for index, (a, b) in enumerate(zip(exact, found, strict=True)):
            wide = np.asarray(a, np.float64)
            if np.shape(a) == np.shape(b):
                signal[index] += float((wide**2).sum())
                noise[index] += float(((wide - np.asarray(b, np.float64)) ** 2).sum())
    return [
        (name, _decibels(s, n)) for name, s, n in zip(names, signal, noise, strict=True) if s > 0
    ]


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return EQUAL_DB
    return round(min(EQUAL_DB, 10 * math.log10(signal / noise)), 1)


def _graph(file: Path) -> Any:
    return onnx.load(file, load_external_data=False)
