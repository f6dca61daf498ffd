"""Outputs whose size depends on what is in a sample: the boxes that a detector found.

To lie in one array, rows are filled up to the largest with zeros or empty text, and beside them
lies, by another name, how large each was. So metrics that compare row by row see a row of another
size as one that differs, and a task of the user's can cut off what was filled up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from packager.optimize.npz import Array

SIZES = " sizes"
"""What is added to an output's name for the array that tells the shape of each of its rows."""


def stacked(name: str, rows: Sequence[Array]) -> dict[str, Array]:
    """One array of all rows; and their shapes, where they differ. Raises ValueError where rows have
    different numbers of dimensions."""
    shapes = [row.shape for row in rows]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"output {name!r} has now {len(shapes[0])} dimensions, now others")
    if len(set(shapes)) == 1:
        return {name: np.stack(rows)}
    largest = tuple(int(size) for size in np.max(np.array(shapes), axis=0))
    filled = [_filled(row, largest) for row in rows]
    return {name: np.stack(filled), name + SIZES: np.array(shapes, np.int64)}


def joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The parts one after the other. Raises ValueError or KeyError where they do not fit."""
    told = _alike(parts)
    return {name: np.concatenate([part[name] for part in told]) for name in told[0]}


def aligned(
    one: Mapping[str, Array], other: Mapping[str, Array]
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Both filled up to the same size where either has rows of several."""
    try:
        ours, theirs = _alike((one, other))
    except (ValueError, KeyError):
        return one, other  # what differs is for the gate to say
    return ours, theirs


def _alike(parts: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """The parts with the same arrays, each filled up to the largest of them."""
    named = {name for part in parts for name in part if name.endswith(SIZES)}
    ragged = [name.removesuffix(SIZES) for name in sorted(named)]
    told = [dict(part) for part in parts]
    for name in ragged:
        for part in told:
            if name + SIZES not in part:
                own = part[name]
                part[name + SIZES] = np.tile(np.array(own.shape[1:], np.int64), (len(own), 1))
        largest = tuple(
            int(size) for size in np.max([part[name].shape[1:] for part in told], axis=0)
        )
        for part in told:
            part[name] = _filled(part[name], (len(part[name]), *largest))
    return told


def _filled(array: Array, shape: tuple[int, ...]) -> Array:
    if array.shape == shape:
        return array
    grown: np.ndarray[Any, Any] = np.zeros(shape, array.dtype)
    grown[tuple(slice(0, size) for size in array.shape)] = array
    return grown
