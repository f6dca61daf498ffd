"""The choice among candidates within the quality budget. Pure, and blind to their order.

The source keeps its place unless another is better by more than measuring can be wrong. Those that
nobody can show to be behind the best by more than a tenth are as good as it: their intervals are
taken into account, so that a crowded machine, which widens them, does not choose. Among them the
one with the least change wins: lossless before lossy, then the smaller file, then the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packager.domain.model import NO_CONSTRAINTS, Constraints, Objective
from packager.errors import OptimizationError

NOISE = 0.05
"""Gains below this share are noise, as two runs of the same file on one machine show."""
TIE = 0.1
"""Who is behind the best by less than this share is as good: the file that is smaller, or the same
up to rounding, is worth more than that. As for threads and batches: the fewest within a tenth."""
SPREAD_AT_MOST = 0.025
"""What a measurement may be off and count for; so a choice is never slower than the best by more
than 15 %, however crowded the machine."""


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times better than the source, and how far that may be off, as a share of it."""

    times: float
    spread: float = 0.0

    @property
    def least(self) -> float:
        return self.times * (1 - min(self.spread, SPREAD_AT_MOST))

    @property
    def most(self) -> float:
        return self.times * (1 + min(self.spread, SPREAD_AT_MOST))


ITSELF = Gain(1.0)
"""What the source gains over itself."""


def as_good_as_the_best(gains: Mapping[str, Gain], objective: Objective) -> list[str]:
    """The best, and whoever cannot be shown to be behind it by more than a tie. Sorted."""
    if not gains:
        return []
    tie = NOISE if objective is Objective.SIZE else TIE
    best = max(gains.values(), key=lambda gain: gain.times)
    return sorted(name for name, own in gains.items() if own.most >= best.least * (1 - tie))


@dataclass(frozen=True, slots=True)
class Doubt:
    """A choice hangs on whether the first of `names` is `bound` times as fast as the second, or as
    the source where it stands alone."""

    names: tuple[str, ...]
    bound: float


def in_doubt(gains: Mapping[str, Gain], chosen: str, objective: Objective) -> Doubt | None:
    """Of whom more rounds could undo the choice: what was chosen because it may be as good as the
    best, or what may be better than the source after all. None where no rounds can, or the choice
    is the best. `chosen` is in `gains`."""
    best = max(gains, key=lambda name: gains[name].times)
    if objective is Objective.SIZE or chosen == best:
        return None
    if gains[chosen] == ITSELF:
        return Doubt((best,), 1 + NOISE) if gains[best].most > 1 + NOISE else None
    sure = gains[chosen].least >= gains[best].most * (1 - TIE)
    return None if sure else Doubt((chosen, best), 1 - TIE)


@dataclass(frozen=True, slots=True)
class Contender:
    """What the choice looks at. `speedup` is the objective's ratio to the source's, each with the
    threads and the batch that are best for it, None when there is no measurement, and `spread` how
    far it may be off; `size` in bytes; `p99_ms` and `throughput` as measured. Who is not `raced`
    was far behind at a look: told so, never chosen."""

    name: str
    lossless: bool
    size: int
    speedup: float | None
    p99_ms: float | None = None
    throughput: float | None = None
    raced: bool = True
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The winner's name, why it won, and for each other contender why it did not."""

    name: str
    reason: str
    others: dict[str, str]


def choose(
    source: Contender,
    contenders: Iterable[Contender],
    objective: Objective,
    *,
    source_allowed: bool = True,
    constraints: Constraints = NO_CONSTRAINTS,
) -> Choice:
    """Pick one of `source` and `contenders` for `objective`, among those within `constraints`.

    Where the source is not allowed (another number format is pinned, or it breaks a constraint),
    the best contender wins even when it gains nothing. Raises OptimizationError when there is none.
    """
    everyone = sorted(contenders, key=lambda rival: rival.name)
    broken = {one.name: breach(one, constraints) for one in (source, *everyone)}
    outside = {name: reason for name, reason in broken.items() if reason}
    rivals = [rival for rival in everyone if rival.name not in outside]
    pinned_away = not source_allowed
    source_allowed = source_allowed and source.name not in outside
    if not source_allowed and not rivals and outside:
        raise OptimizationError(
            "no candidate within the quality budget keeps to the constraints of the release",
            where="constraints",
            expected=_told(constraints),
            got="; ".join(f"{name}: {reason}" for name, reason in outside.items())[:600],
            next_step="loosen the constraint, choose faster hardware, or measure on the target and"
            " give the figures with --measurements",
        )
    choice = _choose(source, rivals, objective, source_allowed, pinned_away=pinned_away)
    return Choice(choice.name, choice.reason, {**choice.others, **outside})


def breach(one: Contender, constraints: Constraints) -> str | None:
    """Which constraint a contender breaks, or cannot be shown to keep; None when there is none."""
    if constraints.max_size is not None and one.size > constraints.max_size:
        return f"its size of {one.size} bytes is beyond max_size {constraints.max_size}"
    if constraints.p99_ms is not None:
        if one.p99_ms is None:
            return f"not measured, so p99_ms {constraints.p99_ms} cannot be shown"
        if one.p99_ms > constraints.p99_ms:
            return f"its p99 of {one.p99_ms} ms is beyond p99_ms {constraints.p99_ms}"
    if constraints.min_qps is not None:
        if one.throughput is None:
            return f"not measured, so min_qps {constraints.min_qps} cannot be shown"
        if one.throughput < constraints.min_qps:
            return f"its {one.throughput} inferences a second are below {constraints.min_qps}"
    return None


def _choose(
    source: Contender,
    rivals: list[Contender],
    objective: Objective,
    source_allowed: bool,
    *,
    pinned_away: bool,
) -> Choice:
    gains = {rival.name: gain(source, rival, objective) for rival in rivals}
    raced = [rival for rival in rivals if rival.raced]
    best = max((gains[rival.name].least for rival in raced), default=0.0)
    if not source_allowed and not raced:
        raise OptimizationError(
            "no candidate of the pinned precision is fit to be shipped",
            where="precision",
            expected="at least one candidate within the quality budget",
            next_step="pin another precision, or remove `precision:`",
        )
    if source_allowed and best <= 1 + NOISE:
        others = {rival.name: _loss(source, rival, objective) for rival in rivals}
        why = "nothing better within the budget" if rivals else "no other candidate is eligible"
        return Choice(source.name, f"{why}; the model is shipped as it came", others)
    names = as_good_as_the_best({rival.name: gains[rival.name] for rival in raced}, objective)
    near = [rival for rival in raced if rival.name in names]
    winner = min(near, key=lambda rival: (not rival.lossless, rival.size, rival.name))
    unknown = not gain(source, winner, objective).times
    others = {
        rival.name: (
            f"as good as {winner.name}, which changes less or is smaller"
            if rival in near and not unknown
            else _loss(source, rival, objective, winner)
        )
        for rival in rivals
        if rival is not winner
    }
    others[source.name] = (
        f"{winner.name} is better: {_figure(source, winner, objective)}"
        if source_allowed
        else "not in the pinned precision"
        if pinned_away
        else ""
    )
    reason = (
        "nothing was measured, so the one that is smallest of those that may be shipped"
        if unknown
        else f"best for {objective.value}: {_figure(source, winner, objective)}"
    )
    return Choice(winner.name, reason, others)


def gain(source: Contender, rival: Contender, objective: Objective) -> Gain:
    """How many times better than the source; 0 when that is not known."""
    if objective is Objective.SIZE:
        return Gain(source.size / rival.size)
    return Gain(rival.speedup or 0.0, rival.spread)


def _told(constraints: Constraints) -> str:
    parts = (
        ("p99_ms", constraints.p99_ms),
        ("max_size", constraints.max_size),
        ("min_qps", constraints.min_qps),
    )
    return ", ".join(f"{name}: {value}" for name, value in parts if value is not None)


def _loss(
    source: Contender, rival: Contender, objective: Objective, winner: Contender | None = None
) -> str:
    value = gain(source, rival, objective).times
    figure = _figure(source, rival, objective)
    if not value:
        return "not measured, so not chosen"
    if value < 1 - NOISE:
        return f"worse than the source: {figure}"
    if value <= 1 + NOISE:
        return f"no better than the source beyond noise: {figure}"
    return f"{winner.name} is better: {figure}" if winner else figure


def _figure(source: Contender, rival: Contender, objective: Objective) -> str:
    if objective is Objective.SIZE:
        return f"{source.size / rival.size:.2f}× smaller than the source"
    kind = "throughput" if objective in (Objective.THROUGHPUT, Objective.COST) else "speed"
    return f"{rival.speedup or 0:.2f}× the source's {kind}, each at its best"
