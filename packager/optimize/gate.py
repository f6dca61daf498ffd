"""The quality gate: may this candidate stand in for the source? Pure, and closed when in doubt.

What is compared with the budget is never the value on the samples but its 95 % confidence bound on
the unfavourable side, so few samples prove little:

- top1_agreement: the share of samples on which the largest value of each output is at the same
  place as the source's; whole numbers and texts must be equal. Bound: the exact one-sided lower
  limit for a share (Clopper & Pearson, 1934).
- cosine, max_abs: each sample has its own value. Bound: the value that, with 95 % confidence, at
  least 99 % of all inputs keep to (Wilks' distribution-free tolerance limit, 1941).

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
from packager.optimize.npz import Array

CONFIDENCE = 0.95
COVERAGE = 0.99
"""Share of all inputs that must keep to a cosine or max_abs budget."""

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


def judge(reference: Outputs, candidate: Outputs, budget: QualityBudget) -> Judgement:
    """Hold a candidate's outputs against the source's. First axis of every array: the samples."""
    if reason := _defect(reference, candidate, budget.metric):
        return Judgement(False, reason)
    samples = len(next(iter(reference.values())))
    values = _values(reference, candidate, budget.metric)
    if budget.metric is Metric.TOP1_AGREEMENT:
        return _judge_share(int(values.sum()), samples, budget)
    return _judge_tolerance(values, budget)


def hopeless(reference: Outputs, candidate: Outputs, total: int, budget: QualityBudget) -> bool:
    """Whether the answers so far already rule out the budget, whatever the rest of `total` samples
    would give: an exact statement, so that looking at a part first never changes a verdict."""
    if _defect(reference, candidate, budget.metric):
        return True
    values = _values(reference, candidate, budget.metric)
    if budget.metric is Metric.TOP1_AGREEMENT:
        best = total - int(len(values) - values.sum())
        return share_lower_bound(best, total) < budget.bound
    rank = tolerance_rank(total)
    if rank is None:
        return True
    smaller_is_worse = budget.metric is Metric.COSINE
    over = values < budget.bound if smaller_is_worse else values > budget.bound
    return int(over.sum()) >= rank


def is_lossless(reference: Outputs, candidate: Outputs) -> bool:
    """Whether all outputs are equal up to rounding in the last places (NaN is never equal)."""
    return _shape_defect(reference, candidate) is None and all(
        _close(reference[name], candidate[name]) for name in reference
    )


def share_lower_bound(successes: int, trials: int) -> float:
    """Exact one-sided 95 % lower confidence bound of a share (Clopper–Pearson)."""
    if successes == 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(60):
        middle = (low + high) / 2
        if _tail(successes, trials, middle) < 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def samples_needed(share: float) -> int:
    """How many samples, all agreeing, prove at least `share` with 95 % confidence."""
    if share >= 1:
        raise ValueError("no number of samples proves a share of 1")
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share)) if share > 0 else 1


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
    needed = _share_needed(value, budget.bound)
    told = f"{told}; to prove {budget.bound} at this rate takes about {needed} held-out samples"
    return Judgement(False, told, quality)


def _share_needed(value: float, bound: float) -> int:
    """About how many samples prove `bound` when the share `value` of them agree."""
    count = samples_needed(bound)
    while value < 1 and count < 1_000_000:
        # the lower limit reaches `bound` when so many successes were unlikely at `bound` itself
        if _tail(math.floor(value * count), count, bound) <= 1 - CONFIDENCE:
            break
        count = math.ceil(count * 1.1)
    return count


def _judge_tolerance(values: NDArray[np.float64], budget: QualityBudget) -> Judgement:
    samples = len(values)
    smaller_is_worse = budget.metric is Metric.COSINE
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
        f" {'≥' if smaller_is_worse else '≤'} {_six(bound)}"
    )
    reason = told if passed else f"{told}; the budget is {budget.bound}"
    return Judgement(passed, reason, Quality(budget.metric, _six(value), _six(bound), samples))


def tolerance_rank(samples: int) -> int | None:
    """Which of the sorted values, worst first, is a 99 %/95 % tolerance limit; None when too few.

    The r-th worst is one when at least r of `samples` inputs fall into a worst 1 % with 95 %.
    """
    rank = 0
    while _tail(rank + 1, samples, 1 - COVERAGE) >= CONFIDENCE:
        rank += 1
    return rank or None


def _tail(successes: int, trials: int, share: float) -> float:
    """P(at least `successes` of `trials`) when each succeeds with probability `share`."""
    if successes <= 0:
        return 1.0
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(share)
        + (trials - count) * math.log1p(-share)
        for count in range(successes, trials + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def _defect(reference: Outputs, candidate: Outputs, metric: Metric) -> str | None:
    if reason := _shape_defect(reference, candidate):
        return reason
    for name, ours in reference.items():
        if not _is_float(ours):
            if metric is not Metric.TOP1_AGREEMENT and not np.array_equal(ours, candidate[name]):
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
    if metric is Metric.TOP1_AGREEMENT or any(_is_float(ours) for ours in reference.values()):
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
            same = (a.argmax(-1) == b.argmax(-1)).reshape(count, -1).all(axis=1)
            worst = np.minimum(worst, same.astype(np.float64))
        elif metric is Metric.COSINE:
            worst = np.minimum(worst, _cosine(a.reshape(count, -1), b.reshape(count, -1)))
        else:
            worst = np.maximum(worst, np.abs(a - b).reshape(count, -1).max(axis=1))
    return worst


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


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def _down(value: float) -> float:
    """Four decimals, never rounded up: evidence must not claim more than was proved."""
    return math.floor(value * 10_000) / 10_000


def _six(value: float) -> float:
    return float(f"{value:.6g}")
