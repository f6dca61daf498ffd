"""The Pareto front: candidates that no other one beats on everything. Pure, and blind to order.

An axis counts only where every candidate has a figure: dominance over axes that some lack would
not be transitive, and could leave a front empty. Values are compared as they are shown, rounded;
two candidates with equal values are both on the front.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

SMALLER_IS_BETTER = frozenset(("latency", "size", "memory", "energy", "cost", "error"))
LARGER_IS_BETTER = frozenset(("throughput", "quality"))


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate with a value for each axis that is known of it; words as in the sets above."""

    name: str
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Front:
    """Names on the front, sorted; the axes that counted; who beats each of the others."""

    names: tuple[str, ...]
    axes: tuple[str, ...]
    dominated_by: Mapping[str, str]


def pareto_front(points: Iterable[Point]) -> Front:
    """Every point that no other dominates. Raises ValueError for an unknown axis."""
    known = sorted(points, key=lambda point: point.name)
    axes = _common_axes(known)
    on_front, beaten = [], {}
    for point in known:
        by = next((other for other in known if dominates(other, point, axes)), None)
        if by is None:
            on_front.append(point.name)
        else:
            beaten[point.name] = by.name
    return Front(
        tuple(on_front),
        axes,
        {name: _on_front(by, beaten) for name, by in beaten.items()},
    )


def dominates(one: Point, other: Point, axes: Iterable[str]) -> bool:
    """Whether `one` is nowhere worse than `other` and somewhere better."""
    differences = [_better_by(axis, one, other) for axis in axes]
    return bool(differences) and min(differences) >= 0 and max(differences) > 0


def _better_by(axis: str, one: Point, other: Point) -> float:
    mine, theirs = one.values[axis], other.values[axis]
    if mine is None or theirs is None:
        raise ValueError(f"{axis} is not known of both")
    return mine - theirs if axis in LARGER_IS_BETTER else theirs - mine


def _common_axes(points: list[Point]) -> tuple[str, ...]:
    named = {axis for point in points for axis in point.values}
    if strange := named - SMALLER_IS_BETTER - LARGER_IS_BETTER:
        raise ValueError(f"unknown axes: {sorted(strange)}")
    return tuple(
        sorted(axis for axis in named if all(p.values.get(axis) is not None for p in points))
    )


def _on_front(name: str, beaten: Mapping[str, str]) -> str:
    """The one on the front that beats it too: who beats the beater beats the beaten."""
    while name in beaten:
        name = beaten[name]
    return name
