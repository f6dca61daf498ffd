"""A candidate's answers held against the source's, in parts, and what is told of them.

Looking at a part first changes no verdict: `hopeless` is an exact statement (`gate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from packager.domain.model import Metric, QualityBudget
from packager.optimize.gate import Judgement, Scores, hopeless, is_lossless, judge
from packager.optimize.in_batches import DEPENDS
from packager.optimize.making import Answers, joined
from packager.optimize.npz import Array
from packager.optimize.ragged import aligned
from packager.optimize.recipes import Recipe
from packager.optimize.samples import Samples
from packager.optimize.sufficiency import too_few
from packager.optimize.task import scores_of

RUNGS = (16, 4)
"""The first part of the held-out samples is a sixteenth of them, the second goes to a quarter."""
RUNG_AT_LEAST, SECOND_AT_LEAST = 32, 128
"""What is smaller is not worth another session."""


def lost(judgement: Judgement, budget: QualityBudget, stop: int, total: int) -> str:
    """Why the rest of the samples is not asked."""
    quality = judgement.quality
    if quality is None:
        return judgement.reason
    if budget.metric in (Metric.TOP1_AGREEMENT, Metric.TASK):
        return f"{judgement.reason}; the other {total - stop} cannot make up for it"
    return (
        f"on {stop} of {total} samples {budget.metric.value} is beyond the budget of {budget.bound}"
        f" too often already, at worst {quality.bound}; the others cannot make up for it"
    )


def rungs(total: int) -> list[tuple[int, int]]:
    """Where each part of `total` samples starts and stops: 1685 → 0–105, 105–421, 421–1685."""
    first, second = (total // divisor for divisor in RUNGS)
    wanted = [max(RUNG_AT_LEAST, first), *([second] if second >= SECOND_AT_LEAST else [])]
    stops = [stop for stop in wanted if 2 * stop <= total]
    return list(zip([0, *stops], [*stops, total], strict=True))


@dataclass(frozen=True, slots=True)
class Held:
    """A candidate's answers so far beside the source's, with the scores of a task."""

    reference: Mapping[str, Array]
    outputs: Mapping[str, Array]
    scores: Scores | None

    def judge(self, budget: QualityBudget) -> Judgement:
        return judge(self.reference, self.outputs, budget, self.scores)

    def hopeless(self, budget: QualityBudget, total: int) -> bool:
        return hopeless(self.reference, self.outputs, total, budget, self.scores)

    def too_few(self, budget: QualityBudget, total: int) -> str | None:
        whole = self.scores is None or self.scores.whole
        return too_few(total, budget, whole=whole)


def held_against(source: Answers, parts: list[Answers], stop: int) -> Held:
    """The answers so far beside those of `source` to the same samples."""
    reference = {name: array[:stop] for name, array in source.outputs.items()}
    own = joined(parts)
    scores = None
    if source.scores is not None and own.scores is not None:
        scores = scores_of(source.scores[:stop], own.scores)
    return Held(*aligned(reference, own.outputs), scores)


def verdict(
    recipe: Recipe, held: Held, samples: Samples, budget: QualityBudget, *, alone: bool
) -> Judgement:
    """The gate's answer on all samples; `alone`: rows have nothing to do with each other."""
    judgement = held.judge(budget)
    if recipe.lossless and is_lossless(held.reference, held.outputs):
        count = len(samples.evaluation)
        shown = None if samples.synthetic else judgement.quality
        return Judgement(True, f"equal to the source up to rounding on {count} samples", shown)
    if samples.synthetic:
        return Judgement(
            False, "its quality cannot be proved without samples; name them in model.samples"
        )
    if judgement.passed and not alone:
        return replace(judgement, passed=False, reason=DEPENDS)
    few = judgement.quality and held.too_few(budget, len(samples.evaluation))
    return judgement if judgement.passed or not few else replace(judgement, reason=few)
