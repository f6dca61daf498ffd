"""The quality gate: may this candidate stand in for the source? Pure, and closed when in doubt.

What is compared with the budget is never the value on the samples but its 95 % confidence bound on
the unfavourable side, so few samples prove little:

- top1_agreement: the share of samples on which the largest value of each output is at the same
  place as the source's; whole numbers (floats that hold nothing else, too) and texts must be equal.
  Bound: the exact one-sided lower limit for a share (Clopper & Pearson, 1934).
- cosine, sqnr (decibels), max_abs: each sample has its own value. Bound: the value that, with 95 %
  confidence, at least 99 % of all inputs keep to (Wilks' distribution-free tolerance limit, 1941).
- task: the user's metric scored every sample from 0 to 1. What counts is by how much the score of
  samples fell on average, and samples that rose make up for nothing, so that the bound is on the
  safe side. Bound: the upper limit of that mean (`confidence.mean_upper_bound`).

Rejected without looking further: NaN or infinity, another shape or type, an output that the metric
cannot see, samples too few to prove the budget (with the number that is needed).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packager.domain.model import Metric, Quality, QualityBudget
from packager.optimize.confidence import (
    COVERAGE,
    mean_upper_bound,
    samples_for_mean,
    samples_for_share,
    samples_needed,
    share_lower_bound,
    tolerance_rank,
)
from packager.optimize.npz import Array

# What "lossless" means: rounding in the last places, as another order of summation gives.
LOSSLESS_RELATIVE = 1e-4
LOSSLESS_ABSOLUTE = 1e-5

Outputs = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's answer. `quality` is None when nothing could be computed."""

    passed: bool
    reason: str
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """What the user's metric gave for each sample, from 0 to 1, of source and candidate. `whole`
    where it can give 0 or 1 only: right or wrong."""

    source: NDArray[np.float64]
    candidate: NDArray[np.float64]
    whole: bool

    @property
    def losses(self) -> NDArray[np.float64]:
        """By how much each sample fell."""
        return np.maximum(0.0, self.source - self.candidate)


def judge(
    reference: Outputs, candidate: Outputs, budget: QualityBudget, scores: Scores | None = None
) -> Judgement:
    """Hold a candidate's outputs against the source's. First axis of every array: the samples.

    `scores` are those of a task, which can be judged by nothing else.
    """
    if reason := _defect(reference, candidate, budget.metric):
        return Judgement(False, reason)
    samples = len(next(iter(reference.values())))
    if budget.metric is Metric.TASK:
        return _judge_task(scores, samples, budget)
    values = _values(reference, candidate, budget.metric)
    if budget.metric is Metric.TOP1_AGREEMENT:
        return _judge_share(int(values.sum()), samples, budget)
    return _judge_tolerance(values, budget)


def hopeless(
    reference: Outputs,
    candidate: Outputs,
    total: int,
    budget: QualityBudget,
    scores: Scores | None = None,
) -> bool:
    """Whether the answers so far already rule out the budget, whatever the rest of `total` samples
    would give: an exact statement, so that looking at a part first never changes a verdict."""
    if _defect(reference, candidate, budget.metric):
        return True
    if budget.metric is Metric.TASK:
        if scores is None:
            return True
        lost = float(scores.losses.sum())
        return mean_upper_bound(lost, total, whole=scores.whole) > budget.bound
    values = _values(reference, candidate, budget.metric)
    if budget.metric is Metric.TOP1_AGREEMENT:
        best = total - int(len(values) - values.sum())
        return share_lower_bound(best, total) < budget.bound
    rank = tolerance_rank(total)
    if rank is None:
        return True
    smaller_is_worse = not budget.metric.smaller_is_better
    over = values < budget.bound if smaller_is_worse else values > budget.bound
    return int(over.sum()) >= rank


def is_lossless(reference: Outputs, candidate: Outputs) -> bool:
    """Whether all outputs are equal up to rounding in the last places (NaN is never equal)."""
    return _shape_defect(reference, candidate) is None and all(
        _close(reference[name], candidate[name]) for name in reference
    )


def _judge_share(agreeing: int, samples: int, budget: QualityBudget) -> Judgement:
    value, bound = agreeing / samples, share_lower_bound(agreeing, samples)
    quality = Quality(budget.metric, _down(value), _down(bound), samples)
    told = (
        f"{agreeing} of {samples} samples agree, at least {_down(bound):.4f} with 95 % confidence"
    )
    if bound >= budget.bound:
        return Judgement(True, told, quality)
    if value < budget.bound:
        return Judgement(False, f"{told}; the budget is {budget.bound}", quality)
    if budget.bound >= 1:
        return Judgement(False, f"{told}; no number of samples proves 1.0", quality)
    needed = samples_for_share(value, budget.bound)
    told = f"{told}; to prove {budget.bound} at this rate takes about {needed} held-out samples"
    return Judgement(False, told, quality)


def _judge_task(scores: Scores | None, samples: int, budget: QualityBudget) -> Judgement:
    if scores is None or not len(scores.source) == len(scores.candidate) == samples:
        return Judgement(False, "the task's metric gave no score for each sample")
    before, after = float(scores.source.mean()), float(scores.candidate.mean())
    lost = float(scores.losses.sum())
    bound = _up(mean_upper_bound(lost, samples, whole=scores.whole))
    quality = Quality(
        budget.metric, _six(before - after), bound, samples, (_six(before), _six(after))
    )
    told = (
        f"the task's score goes from {before:.4f} to {after:.4f}; with 95 % confidence it loses at"
        f" most {bound:.4f}"
    )
    if bound <= budget.bound:
        return Judgement(True, told, quality)
    told = f"{told}; the budget is {budget.bound}"
    if lost / samples < budget.bound:
        needed = samples_for_mean(lost / samples, budget.bound, whole=scores.whole)
        told = f"{told}; to prove it at this rate takes about {needed} held-out samples"
    return Judgement(False, told, quality)


def _judge_tolerance(values: NDArray[np.float64], budget: QualityBudget) -> Judgement:
    samples = len(values)
    smaller_is_worse = not budget.metric.smaller_is_better
    worst_first = np.sort(values if smaller_is_worse else -values)
    value = float(values.mean() if smaller_is_worse else values.max())
    rank = tolerance_rank(samples)
    if rank is None:
        needed = samples_needed(COVERAGE)
        worst = float(abs(worst_first[0]) if not smaller_is_worse else worst_first[0])
        quality = Quality(budget.metric, _six(value), _six(worst), samples)
        return Judgement(
            False,
            f"{samples} held-out samples cannot prove a bound; at least {needed} are needed",
            quality,
        )
    limit = float(worst_first[rank - 1])
    bound = limit if smaller_is_worse else -limit
    passed = bound >= budget.bound if smaller_is_worse else bound <= budget.bound
    told = (
        f"with 95 % confidence {COVERAGE:.0%} of inputs have {budget.metric.value}"
        f" {'≥' if smaller_is_worse else '≤'} {_safe(bound, up=not smaller_is_worse)}"
    )
    reason = told if passed else f"{told}; the budget is {budget.bound}"
    shown = _safe(bound, up=not smaller_is_worse)
    return Judgement(passed, reason, Quality(budget.metric, _six(value), shown, samples))


def _defect(reference: Outputs, candidate: Outputs, metric: Metric) -> str | None:
    if reason := _shape_defect(reference, candidate):
        return reason
    for name, ours in reference.items():
        if not _is_float(ours):
            blind = metric in (Metric.COSINE, Metric.SQNR, Metric.MAX_ABS)
            if blind and not np.array_equal(ours, candidate[name]):
                return f"{metric.value} does not see the output {name!r}, which is not equal"
        elif not np.isfinite(ours).all():
            return f"the source itself gives NaN or infinity in {name!r}; nothing can be proved"
        elif not np.isfinite(candidate[name]).all():
            return f"it gives NaN or infinity in {name!r}"
        elif metric is Metric.TOP1_AGREEMENT and (ours.ndim < 2 or ours.shape[-1] < 2):
            return (
                f"top1_agreement does not see the output {name!r}, which has one value;"
                " choose cosine or max_abs"
            )
    if metric in (Metric.TOP1_AGREEMENT, Metric.TASK):
        return None
    if any(_is_float(ours) for ours in reference.values()):
        return None
    return f"no output holds numbers that {metric.value} could compare"


def _shape_defect(reference: Outputs, candidate: Outputs) -> str | None:
    if set(reference) != set(candidate) or not reference:
        return "its outputs have other names"
    for name, ours in reference.items():
        theirs = candidate[name]
        if ours.shape != theirs.shape or ours.dtype.kind != theirs.dtype.kind:
            return f"the output {name!r} has another shape or type"
        if not len(ours):
            return "there is no held-out sample"
    return None


def _values(reference: Outputs, candidate: Outputs, metric: Metric) -> NDArray[np.float64]:
    """The metric of each sample, the worst over all outputs with real numbers."""
    count = len(next(iter(reference.values())))
    worst = np.full(count, -np.inf if metric is Metric.MAX_ABS else np.inf)
    if metric is Metric.TOP1_AGREEMENT:
        worst = np.ones(count)
    for name, ours in reference.items():
        if not _is_float(ours):
            if metric is Metric.TOP1_AGREEMENT:
                same = (ours == candidate[name]).reshape(count, -1).all(axis=1)
                worst = np.minimum(worst, same.astype(np.float64))
            continue
        a, b = ours.astype(np.float64), candidate[name].astype(np.float64)
        if metric is Metric.TOP1_AGREEMENT:
            alike = a == b if _are_numbers(a) else a.argmax(-1) == b.argmax(-1)
            same = alike.reshape(count, -1).all(axis=1)
            worst = np.minimum(worst, same.astype(np.float64))
        elif metric is Metric.COSINE:
            worst = np.minimum(worst, _cosine(a.reshape(count, -1), b.reshape(count, -1)))
        elif metric is Metric.SQNR:
            worst = np.minimum(worst, _sqnr(a.reshape(count, -1), b.reshape(count, -1)))
        else:
            off = np.abs(a - b).reshape(count, -1).max(axis=1, initial=0.0)
            worst = np.maximum(worst, off)
    return worst


def _sqnr(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signal over what was added to it, in decibels, at most what is told of equal ones."""
    most = Metric.SQNR.perfect
    signal, noise = (a**2).sum(axis=1), ((a - b) ** 2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * np.log10(signal / noise)
    return np.where(noise == 0, most, np.clip(decibels, -most, most))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    cosine = np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)
    return np.where(both_zero, 1.0, np.clip(cosine, -1.0, 1.0))


def _close(a: Array, b: Array) -> bool:
    if not _is_float(a):
        return bool(np.array_equal(a, b))
    return bool(
        np.allclose(
            a.astype(np.float64),
            b.astype(np.float64),
            rtol=LOSSLESS_RELATIVE,
            atol=LOSSLESS_ABSOLUTE,
        )
    )


def _are_numbers(values: NDArray[np.float64]) -> bool:
    """Whether floats hold whole numbers, such as the characters that a recognizer read: which of
    them is the largest says nothing. Scores that are exactly 0 or 1 are scores all the same."""
    return bool(values.size and np.abs(values).max() > 1 and (values == np.rint(values)).all())


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _down(value: float) -> float:
    """Four decimals, never rounded up: evidence must not claim more than was proved."""
    return math.floor(value * 10_000) / 10_000


def _up(value: float) -> float:
    return math.ceil(value * 10_000 - 1e-9) / 10_000


def _six(value: float) -> float:
    return float(f"{value:.6g}")


def _safe(value: float, *, up: bool) -> float:
    """Six digits, never on the side on which they would claim more than was proved."""
    shown = _six(value)
    if shown == value or (shown > value) == up or not value:
        return shown
    last = 10.0 ** (math.floor(math.log10(abs(value))) - 5)
    return _six(shown + last if up else shown - last)
