"""The golden self-test: known inputs must give the known outputs, on this very machine.

A wrong driver, a miscompiled kernel or a swapped model shows here, before the first client. Numbers
are compared as |got − expected| ≤ tolerance × max(1, |expected|); whole numbers, truth values and
text must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .configuration import ModelSettings
from .datatypes import BF16, BYTES, Array, Datatype, TensorSpec
from .declared_files import Golden
from .errors import ExitCode, Refusal, RequestError
from .npz import read_npz

if TYPE_CHECKING:
    from .session import Session


def golden_inputs(settings: ModelSettings, data: bytes) -> dict[str, Array]:
    """The golden file's inputs by name; raises Refusal when they are not there."""
    golden = settings.golden
    if golden is None:
        return {}
    stored = _read(golden, data)
    return {spec.name: _take(stored, golden, "input", spec) for spec in settings.inputs}


def self_test(session: Session, data: bytes) -> dict[str, Array]:
    """Run the golden file's inputs, which are returned by name.

    Raises Refusal when an answer is not the expected one.
    """
    settings = session.settings
    golden = settings.golden
    if golden is None:
        return {}
    stored = _read(golden, data)
    inputs = {spec.name: _take(stored, golden, "input", spec) for spec in settings.inputs}
    expected = {spec.name: _take(stored, golden, "output", spec) for spec in settings.outputs}
    if stored:
        raise _refusal(golden, f"{min(stored)} is not a tensor of {settings}")
    try:
        results = session.run(inputs, list(expected))
    except RequestError as error:
        raise _refusal(golden, f"{settings} gives no answer: {error}") from error
    for spec in settings.outputs:
        _compare(golden, spec, results[spec.name], expected[spec.name])
    return inputs


def answers_by_row(session: Session, inputs: dict[str, Array]) -> bool:
    """Whether the model answers a row the same, alone and among others.

    A free first dimension need not be a batch: where it is something else, putting requests
    together would mix them up. `inputs` are golden ones; a single row is tried beside itself.
    """
    golden = session.settings.golden
    rows = {len(array) for array in inputs.values() if array.ndim}
    if golden is None or len(rows) != 1 or 0 in rows or any(a.ndim == 0 for a in inputs.values()):
        return False
    (count,) = rows
    names = [spec.name for spec in session.settings.outputs]
    double = {name: np.concatenate([array, array[::-1]]) for name, array in inputs.items()}
    try:
        together = session.run(double, names)
        for row in range(count):
            alone = session.run({k: a[row : row + 1] for k, a in inputs.items()}, names)
            for spec in session.settings.outputs:
                found = together[spec.name]
                if len(found) != 2 * count or len(alone[spec.name]) != 1:
                    return False
                for place in (row, 2 * count - 1 - row):
                    _compare(golden, spec, found[place : place + 1], alone[spec.name])
    except (RequestError, Refusal, TypeError, IndexError):
        return False
    return True


def same_filled_up(
    session: Session, inputs: dict[str, Array], expected: Mapping[str, Array], rows: int
) -> bool:
    """Whether a batch of `rows` rows, `inputs` again and again, gives `expected` for each."""
    golden = session.settings.golden
    if golden is None:
        return False
    fed = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
    found = session.run(fed, list(expected))
    try:
        for spec in session.settings.outputs:
            wanted = expected[spec.name]
            again = np.resize(wanted, (rows, *wanted.shape[1:]))
            _compare(golden, spec, found[spec.name], again)
    except Refusal:
        return False
    return True


def _read(golden: Golden, data: bytes) -> dict[str, Array]:
    try:
        return read_npz(data)
    except Exception as error:
        raise _refusal(golden, f"not an npz file of plain arrays: {error}") from error


def _take(stored: dict[str, Array], golden: Golden, kind: str, spec: TensorSpec) -> Array:
    key = f"{kind}.{spec.name}"
    if key not in stored:
        raise _refusal(golden, f"{key} is missing")
    array = _as_carried(spec.datatype, stored.pop(key))
    if array is None:
        raise _refusal(golden, f"{key} is not {spec.datatype.name}")
    return array


def _as_carried(datatype: Datatype, array: Array) -> Array | None:
    """Stored arrays hold text as fixed-width cells and BF16 as bits; None for another type."""
    if datatype is BYTES:
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8")
        return array.astype(object) if array.dtype.kind == "U" else None
    if datatype is BF16 and array.dtype.itemsize == 2 and array.dtype.kind in "uV":
        return array.view(BF16.dtype)
    return array if array.dtype == datatype.dtype else None


def _compare(golden: Golden, spec: TensorSpec, got: Array, expected: Array) -> None:
    key = f"output.{spec.name}"
    if got.shape != expected.shape:
        raise _refusal(
            golden, f"{key} has shape {list(got.shape)}, expected {list(expected.shape)}"
        )
    if spec.datatype.dtype.kind != "f" and spec.datatype is not BF16:
        if not np.array_equal(got, expected):
            wrong = int(np.count_nonzero(got != expected))
            raise _refusal(golden, f"{key} differs in {wrong} of {got.size} elements")
        return
    worst = _worst(_widened(spec, got), _widened(spec, expected))
    if not worst <= golden.tolerance:
        raise _refusal(golden, f"{key} is off by {worst:.3g}, allowed is {golden.tolerance:g}")


def _widened(spec: TensorSpec, array: Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    if spec.datatype is BF16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float64)


def _worst(got: Array, expected: Array) -> float:
    """The largest relative difference; infinite where only one of two is NaN or infinite."""
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        off = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    off = np.where(same, 0.0, np.where(np.isfinite(off), off, np.inf))
    return float(off.max(initial=0.0))


def _refusal(golden: Golden, message: str) -> Refusal:
    return Refusal(ExitCode.DATA, f"golden self-test {golden.path}: {message}")
