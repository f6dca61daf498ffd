"""Whether there are samples enough: what a budget takes at least, however good a candidate is.

Below that number nothing that changes the model can pass the gate, which a user should hear before
anything else, and in the number of samples that the file must hold: a part of them goes to
calibration and to the golden self-test. Pure.
"""

from __future__ import annotations

from packager.domain.model import Metric, QualityBudget
from packager.optimize.confidence import COVERAGE, samples_for_mean, samples_needed
from packager.optimize.samples import in_the_file


def least(budget: QualityBudget, *, whole: bool = True) -> int | None:
    """Held-out samples that prove the budget when nothing is lost; None when no number does.

    `whole`: a task whose scores are right or wrong, which proves more than fractions do.
    """
    if budget.metric is Metric.TASK:
        return None if budget.bound <= 0 else samples_for_mean(0.0, budget.bound, whole=whole)
    if budget.metric is Metric.TOP1_AGREEMENT:
        return None if budget.bound >= 1 else samples_needed(budget.bound)
    return samples_needed(COVERAGE)


def too_few(total: int, budget: QualityBudget, *, whole: bool = True) -> str | None:
    """Why `total` held-out samples prove nothing, with the number that would; else None."""
    needed = least(budget, whole=whole)
    if needed is None:
        return f"no number of samples proves {budget.metric.value} of {budget.bound}"
    if total >= needed:
        return None
    return (
        f"{total} held-out samples cannot prove {budget.metric.value} of {budget.bound}, however"
        f" good a candidate is; at least {needed} are needed, which takes {in_the_file(needed)}"
        " distinct samples in the file"
    )
