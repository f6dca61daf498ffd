"""Trials with their figures in the words that the choice understands.

Each candidate is timed beside the source with as many threads and rows, and the ratio says nothing
of another cell: with one thread INT8 may be 2.9 times as fast, with two 2.0 times, and the second
is the faster all the same. So a ratio is brought to the source at its best by what threads and
batches do to the source, which all rows together tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from statistics import median

from packager.domain.model import NO_CONSTRAINTS, Constraints, Model, Objective
from packager.optimize.choosing import Choice, Contender, choose
from packager.optimize.making import Made
from packager.optimize.recipes import SOURCE
from packager.optimize.record import Figures, Row, measurement
from packager.optimize.timing import Cell
from packager.optimize.trying import Trial

FIRST: Cell = (1, 1)
"""One thread, batch 1: where everybody is looked at."""


def scaling(rows: Iterable[Row], objective: Objective) -> Mapping[Cell, float]:
    """Threads and batch → how many times as fast the source is there as with one thread and batch 1
    (inferences a second where the objective is throughput or cost): the median of what the
    candidates' own rows say. Nothing where a row lacks that cell or a ratio."""
    told: dict[Cell, list[float]] = {}
    for row in rows:
        cells = {(f.threads, f.batch): _source_speed(f, objective) for f in row.figures}
        first = cells.get(FIRST)
        for cell, speed in cells.items():
            if first and speed:
                told.setdefault(cell, []).append(speed / first)
    return {cell: median(values) for cell, values in sorted(told.items())}


def _source_speed(figures: Figures, objective: Objective) -> float | None:
    if objective in (Objective.LATENCY, Objective.SIZE):
        ratio = figures.latency_speedup
        return 1 / (figures.latency_p50_ms * ratio) if ratio and figures.batch == 1 else None
    ratio = figures.throughput_speedup
    return figures.throughput_per_s / ratio if ratio else None


def contender(
    name: str,
    size: int,
    row: Row | None,
    objective: Objective,
    *,
    lossless: bool,
    source_at: Mapping[Cell, float],
) -> Contender:
    """One with the figures that serve the objective best; without a row nothing was measured.
    `source_at` is what `scaling` tells."""
    figures = measurement(row, objective) if row else None
    if figures is None:
        return Contender(name, lossless, size, None)
    batch = 1 if objective in (Objective.LATENCY, Objective.SIZE) else figures.batch
    here = source_at.get((figures.threads, batch))
    best = max(source_at.values(), default=1.0)
    return Contender(
        name=name,
        lossless=lossless,
        size=size,
        speedup=figures.speedup * here / best if figures.speedup and here else figures.speedup,
        p99_ms=figures.latency_p99_ms,
        throughput=figures.throughput_per_s,
        spread=figures.spread or 0.0,
    )


def source_scaling(
    trials: Iterable[Trial], measured: Mapping[str, Row], objective: Objective
) -> Mapping[Cell, float]:
    """What threads and batches do to the source, by the rows of those that stand. Empty where a
    row does not say: then ratios are taken as they are."""
    rows = [measured[one.recipe.name] for one in trials if one.recipe.name in measured]
    told = scaling(rows, objective)
    best = [row.best(objective) for row in rows]
    latency = objective in (Objective.LATENCY, Objective.SIZE)
    return told if all((f.threads, 1 if latency else f.batch) in told for f in best) else {}


def choice_of(
    source: Model,
    trials: Collection[Trial],
    measured: Mapping[str, Row],
    objective: Objective,
    *,
    raced: Callable[[str], bool],
    source_allowed: bool,
    constraints: Constraints = NO_CONSTRAINTS,
) -> Choice:
    """The choice among the source and `trials`, all of them made. Raises OptimizationError."""
    source_at = source_scaling(trials, measured, objective)
    rivals = [
        replace(
            contender(
                trial.recipe.name,
                trial.outcome.model.size,
                measured.get(trial.recipe.name),
                objective,
                lossless=trial.recipe.lossless,
                source_at=source_at,
            ),
            raced=raced(trial.recipe.name),
        )
        for trial in trials
        if isinstance(trial.outcome, Made)
    ]
    itself = contender(
        SOURCE, source.size, measured.get(SOURCE), objective, lossless=True, source_at={}
    )
    return choose(
        replace(itself, speedup=1.0, spread=0.0),
        rivals,
        objective,
        source_allowed=source_allowed,
        constraints=constraints,
    )
