"""Triton's "Classification Extension": the highest values of an output in place of all of them.

Each is a text "value:index" or "value:index:label", for every row of a model that takes rows, and
for the whole output of one that does not. Whether batches pay, which is measured, changes no
answer. Values look as Triton writes them (C++'s `std::to_string`); of equal ones the first comes
first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .datatypes import BF16, BYTES, Array, TensorSpec
from .errors import quoted
from .tensors import bad

if TYPE_CHECKING:
    from .configuration import ModelSettings

MOST_CLASSES = 1 << 31
_MOST_TEXTS = 1 << 16


def checked_count(spec: TensorSpec, value: Any) -> int:
    """How many classes a client wants of an output, 0 for none; raises RequestError (400)."""
    if type(value) is not int or not 0 <= value < MOST_CLASSES:
        raise bad(f"output {quoted(spec.name)}: classification must be a whole number, 0 or more")
    if value and (spec.datatype.dtype.kind not in "iuf" or spec.datatype is BF16):
        raise bad(f"output {quoted(spec.name)} is {spec.datatype.name}, which has no classes")
    return value


def classified(
    settings: ModelSettings, spec: TensorSpec, array: Array, count: int
) -> tuple[TensorSpec, Array]:
    """The classes of an output: BYTES of the shape [rows, n], or [n] without rows, where n is
    `count` or as many as there are. Raises RequestError (400) for more than one answer may hold."""
    by_row = settings.takes_rows and array.ndim > 0
    rows = array.shape[0] if by_row else 1
    table = array.reshape(rows, math.prod(array.shape[1:]) if by_row else array.size)
    wanted = min(count, table.shape[1])
    if rows * wanted > _MOST_TEXTS:
        raise bad(f"{rows * wanted} classes are too many; an answer holds {_MOST_TEXTS}")
    labels = _labels(settings, spec)
    form = "%f:%d" if table.dtype.kind == "f" else "%d:%d"
    texts = np.empty((rows, wanted), dtype=object)
    for row, best in enumerate(_highest(table, wanted)):
        for place, index in enumerate(best.tolist()):
            text = form % (table[row, index], index)
            texts[row, place] = f"{text}:{labels[index]}" if index < len(labels) else text
    shape = (rows, wanted) if by_row else (wanted,)
    return TensorSpec(spec.name, BYTES, shape), texts.reshape(shape)


def _highest(table: Array, wanted: int) -> Array:
    """The indexes of each row's highest values, highest first; NaN is below all."""
    if table.dtype.kind == "f":
        return np.argsort(-table, axis=1, kind="stable")[:, :wanted]
    # What has no sign cannot be turned around, but its order can; equal ones keep theirs.
    turned = np.argsort(table[:, ::-1], axis=1, kind="stable")[:, ::-1]
    found: Array = table.shape[1] - 1 - turned[:, :wanted]
    return found


def _labels(settings: ModelSettings, spec: TensorSpec) -> tuple[str, ...]:
    serving = settings.serving
    if serving is None or (serving.output or settings.outputs[0].name) != spec.name:
        return ()
    return serving.labels
