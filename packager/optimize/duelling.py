"""A duel: two candidates beside each other, until it is clear which side of a bound they are on.

Two ratios to the source are each off by as much as noise makes them; the ratio of two that run one
right after the other is off by that once. And what a choice hangs on is not the ratio but whether
it lies beyond the tie: rounds end as soon as its 95 % interval leaves that bound on one side
(`choosing.in_doubt` says who is asked). The source runs along, so that the figures of both are what
everybody's are. Runs in worker processes only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.optimize.engine import open_session
from packager.optimize.samples import Feed
from packager.optimize.timing import (
    CLOSE,
    Cell,
    Rounds,
    caller,
    figures_of,
    interval,
    latency_of,
    stack,
)

AT_LEAST, BATCHES_AT_LEAST = 6, 4
"""Even numbers: who runs first changes from round to round."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its graph, and the threads and batch that serve it best."""

    graph: Path
    cell: Cell


def duel(
    source: Path,
    one: Side,
    rival: Side | None,
    feeds: Sequence[Feed],
    bound: float,
) -> dict[str, Any]:
    """Figures of both against the source, with their rounds: first `one`, then its `rival`.

    `bound` is how many times as fast as its rival, or as the source where there is none, `one` must
    be shown to be or not to be; `between` is the 95 % interval of that ratio.
    """
    sides = [one] if rival is None else [one, rival]
    calls = [
        (_call(source, side.cell, feeds), _call(side.graph, side.cell, feeds)) for side in sides
    ]
    for turn in range(CLOSE.warm_up):
        for pair in calls:
            for call in pair:
                call(turn)
    rounds: list[Rounds] = [[] for _ in sides]
    least = AT_LEAST if all(side.cell[1] == 1 for side in sides) else BATCHES_AT_LEAST
    started = time.monotonic()
    for turn in range(CLOSE.at_most):
        late = time.monotonic() - started > CLOSE.seconds
        if turn >= least and (late or _is_clear(_ratios(sides, rounds), bound)):
            break
        order = list(zip(calls, rounds, strict=True))
        for pair, kept in reversed(order) if turn % 2 else order:
            kept.append(_both(pair, turn))
    told = []
    for side, kept in zip(sides, rounds, strict=True):
        latency = latency_of(kept) if side.cell[1] == 1 else {}
        figures = figures_of(*side.cell, kept) | latency
        told.append({"figures": [figures], "rounds": [[*side.cell, kept]]})
    return {"between": interval(_ratios(sides, rounds)), "sides": told}


def of_task(task: Mapping[str, Any], feeds: Sequence[Feed]) -> dict[str, Any]:
    """A duel as a worker is asked for it."""
    cells = [(threads, batch) for threads, batch in task["cells"]]
    rival = Side(Path(task["rival"]), cells[1]) if "rival" in task else None
    own = Side(Path(task["candidate"]), cells[0])
    return duel(Path(task["source"]), own, rival, feeds, task["bound"])


def _call(graph: Path, cell: Cell, feeds: Sequence[Feed]) -> Callable[[int], float]:
    threads, batch = cell
    given = feeds if batch == 1 else [stack(feeds, batch)]
    return caller(open_session(graph, threads, in_turns=True), given)


def _both(
    pair: tuple[Callable[[int], float], Callable[[int], float]], turn: int
) -> tuple[float, float]:
    """Seconds of the source and of the other, one right after the other."""
    if turn % 2:
        own = pair[1](turn)
        return pair[0](turn), own
    return pair[0](turn), pair[1](turn)


def _ratios(sides: Sequence[Side], rounds: Sequence[Rounds]) -> Rounds:
    """Seconds of an inference of (the other, the one); without a rival the other is the source."""
    if len(sides) == 1:
        return rounds[0]
    own, other = sides[0].cell[1], sides[1].cell[1]
    return [
        (theirs / other, ours / own)
        for (_, ours), (_, theirs) in zip(rounds[0], rounds[1], strict=True)
    ]


def _is_clear(ratios: Rounds, bound: float) -> bool:
    low, high = interval(ratios)
    return low > bound or high < bound or high - low <= 2 * CLOSE.known * high
