"""Tries every recipe: made, run and judged, several at a time, none able to end the run.

The source goes first: its answers are what all others are held against.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packager.domain.hardware import Precision
from packager.domain.model import Model, QualityBudget
from packager.errors import InputError
from packager.optimize.candidates import SOURCE, Recipe
from packager.optimize.gate import Judgement, is_lossless, judge
from packager.optimize.making import Made, Workshop
from packager.optimize.processes import Failure, Limits, Workers
from packager.optimize.samples import Samples, synthetic_samples
from packager.progress import Progress

SYNTHETIC_COUNT = 24
SYNTHETIC_SIZES = (32, 1, 224)
"""Sizes that are tried for free dimensions when there are no samples."""

# A candidate that takes this many times longer than the source is no candidate.
PATIENCE_FACTOR = 20
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe with what became of it so far; `outcome` is None when it was not even made."""

    recipe: Recipe
    outcome: Made | Failure | None
    judgement: Judgement

    @property
    def eligible(self) -> bool:
        return isinstance(self.outcome, Made) and self.judgement.passed


def run_source(
    model: Model, samples: Samples | None, scratch: Path, workers: Workers, progress: Progress
) -> tuple[Workshop, Made]:
    """The source's own answers: to the samples, or to made-up ones of a size that it takes."""
    progress.advance("running the source", 0, 0)
    if samples is not None:
        workshop = Workshop.open(model, samples, scratch, workers)
        return workshop, workshop.run_source()
    for position, size in enumerate(SYNTHETIC_SIZES):
        folder = scratch / f"size-{size}"
        folder.mkdir()
        made_up = synthetic_samples(model, SYNTHETIC_COUNT, size)
        workshop = Workshop.open(model, made_up, folder, workers)
        try:
            return workshop, workshop.run_source()
        except InputError:
            if position == len(SYNTHETIC_SIZES) - 1:
                raise
    raise AssertionError("unreachable: the last size raises")


def try_all(
    recipes: tuple[Recipe, ...],
    workshop: Workshop,
    source: Made,
    quality: QualityBudget,
    precision: Precision | None,
    progress: Progress,
) -> list[Trial]:
    """Make and judge every recipe but the source, several at a time; results in table order."""
    recipes = tuple(recipe for recipe in recipes if recipe.name != SOURCE)
    bounds = workshop.workers.limits
    seconds = max(PATIENCE_SECONDS, int(PATIENCE_FACTOR * source.seconds))
    patience = Limits(min(seconds, bounds.seconds), bounds.memory_bytes)

    def attempt(recipe: Recipe) -> Trial:
        if precision not in (None, recipe.precision):
            return Trial(recipe, None, Judgement(False, f"the release pins {precision}"))
        outcome = workshop.make(recipe, patience)
        return Trial(recipe, outcome, _judge(recipe, outcome, workshop.samples, source, quality))

    trials: list[Trial] = []
    with ThreadPoolExecutor(max_workers=min(4, len(os.sched_getaffinity(0)))) as pool:
        try:
            for done, trial in enumerate(pool.map(attempt, recipes), start=1):
                trials.append(trial)
                progress.advance(f"tried {trial.recipe.name}", done, len(recipes))
        except BaseException:
            workshop.workers.stop()
            raise
    return trials


def _judge(
    recipe: Recipe, outcome: Made | Failure, samples: Samples, source: Made, quality: QualityBudget
) -> Judgement:
    if isinstance(outcome, Failure):
        return Judgement(False, outcome.reason)
    judgement = judge(source.outputs, outcome.outputs, quality)
    if recipe.lossless and is_lossless(source.outputs, outcome.outputs):
        count = len(samples.evaluation)
        shown = None if samples.synthetic else judgement.quality
        return Judgement(True, f"equal to the source up to rounding on {count} samples", shown)
    if samples.synthetic:
        return Judgement(
            False, "its quality cannot be proved without samples; name them in model.samples"
        )
    return judgement
