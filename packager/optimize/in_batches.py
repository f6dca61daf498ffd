"""Whether a batch is answered as its rows are.

Quality is judged row by row, and clients may send several at once. So the first rows are asked
again in one batch: of the source, to know whether its rows have to do with each other at all, and
of each candidate, which may be right alone and wrong in company. What a candidate's batch may be
off its own rows is a matter of how far its rows are off the source's: ranges that are taken while
running are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from packager.optimize.npz import Array
from packager.optimize.ragged import SIZES

ROWS = 4
MARK = " in a batch"
"""What is added to an output's name where it is that of a batch."""
INDEPENDENT, ROUNDING, NOISES, GROSS = 0.05, 0.01, 10.0, 0.5
"""Shares of the length of the answers: what the source's batch may be off its rows, and what a
candidate's may be: rounding, so many times its loss, twice what the source's is, never what is
gross."""

DEPENDS = (
    "rows of a batch change each other's answers, and single rows were judged; give each sample as"
    " a whole input, with one more axis"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of the first rows in one batch: outputs by name, or why there are none."""

    outputs: Mapping[str, Array]
    failure: str = ""


def taken_out(outputs: dict[str, Array], failure: str) -> Batch | None:
    """The batch that a worker wrote beside the rows, removed from `outputs`; None where it was not
    asked."""
    marked = [name for name in outputs if name.endswith(MARK)]
    found = {name.removesuffix(MARK): outputs.pop(name) for name in marked}
    return Batch(found, failure) if found or failure else None


def rows_are_alone(rows: Mapping[str, Array], batch: Batch | None) -> bool:
    """Whether the source's rows have nothing to do with each other, as far as can be seen."""
    if batch is None or batch.failure or any(name.endswith(SIZES) for name in rows):
        return True
    return _off_rows(batch.outputs, rows) <= INDEPENDENT


def wrong_together(
    rows: Mapping[str, Array],
    batch: Batch | None,
    reference: Mapping[str, Array],
    of_source: Batch | None,
) -> str | None:
    """Why a candidate that answers `rows` may not be fed several at once, where the source may."""
    if of_source is None or of_source.failure or batch is None:
        return None
    if any(name.endswith(SIZES) for name in (*rows, *reference)):
        return None
    if batch.failure:
        return f"does not run in a batch of {ROWS}, as the source does: {batch.failure}"
    if rows_are_alone(reference, of_source):
        lost = max(_off(rows[n][:ROWS], reference[n][:ROWS]) for n in reference if n in rows)
        usual = ROUNDING + NOISES * lost + 2 * _off_rows(of_source.outputs, reference)
        off, allowed = _off_rows(batch.outputs, rows), min(GROSS, usual)
    else:
        off, allowed = _off_all(batch.outputs, of_source.outputs), ROUNDING
    if off <= allowed:
        return None
    return f"answers {ROWS} rows in a batch otherwise than one by one"


def _off_rows(batch: Mapping[str, Array], rows: Mapping[str, Array]) -> float:
    """By how much a batch differs from its rows: the largest of all outputs."""
    return max(
        (_off_row(batch[name], array[:ROWS]) for name, array in rows.items() if name in batch),
        default=float("inf"),
    )


def _off_row(batch: Array, rows: Array) -> float:
    """The same of one output. The axis of the batch is the one that grew, be it the first or, as
    where time comes first, another; an output that did not grow must be that of each row."""
    one = rows.shape[1:]
    if len(one) != batch.ndim:
        return float("inf")
    grown = [axis for axis, size in enumerate(one) if size != batch.shape[axis]]
    if not grown:
        return max(_off(batch, row) for row in rows)
    if len(grown) > 1 or one[grown[0]] * len(rows) != batch.shape[grown[0]]:
        return 0.0  # its size depends on something else: nothing can be seen
    return _off(batch, np.concatenate(list(rows), axis=grown[0]))


def _off_all(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    return max((_off(found.get(name), exact) for name, exact in wanted.items()), default=0.0)


def _off(own: Array | None, exact: Array) -> float:
    """By how much two outputs differ, as a share of their length; of what is no real number, the
    share of values that are others. Infinite where the shape is another."""
    if own is None or own.shape != exact.shape:
        return float("inf")
    if exact.dtype.kind != "f":
        return float(np.mean(own != exact)) if exact.size else 0.0
    a, b = own.astype(np.float64), exact.astype(np.float64)
    off, length = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
    if not np.isfinite(off):
        return 0.0 if np.array_equal(a, b, equal_nan=True) else float("inf")
    return off / length if length else float(off > 0)
