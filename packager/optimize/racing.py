"""Who can still be the choice, told by the figures alone. Pure.

Candidates are raced in rungs: a first look at all, then more of those that are not far behind
(successive halving: Jamieson & Talwalkar, AISTATS 2016, with a margin in place of a fixed share).
"""

from __future__ import annotations

from collections.abc import Mapping

from packager.domain.model import Objective
from packager.optimize.choosing import NOISE

MARGIN = {Objective.LATENCY: 0.75, Objective.THROUGHPUT: 0.55, Objective.COST: 0.55}
"""How far a candidate may lie behind at its first look, batch 1 on one thread, and stay. The winner
is safe as long as a look, threads and batches together move the ratio of a candidate to it by less
than that: 1.33 for latency, 1.8 for throughput. What was measured on six models, of any two
candidates (`moved`, benchmarks/optimize/search.py), is in docs/optimizer.md."""


def in_the_race(
    speeds: Mapping[str, float | None], sizes: Mapping[str, int], objective: Objective
) -> list[str]:
    """Which of `sizes` can still be the choice: who is not behind the fastest by more than
    `MARGIN`, and whose speed (the ratio to the source at the first look) is not known; for size,
    those near the smallest. Sorted."""
    if objective is Objective.SIZE:
        bound = min(sizes.values(), default=0) * (1 + 2 * NOISE)
        return sorted(name for name, size in sizes.items() if size <= bound)
    known = {name: speed for name in sizes if (speed := speeds.get(name)) is not None}
    bound = max(known.values(), default=0.0) * MARGIN[objective]
    return sorted(name for name in sizes if known.get(name, bound) >= bound)
