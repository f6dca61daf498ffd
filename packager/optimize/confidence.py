"""What a number of held-out samples proves: exact bounds that hold with 95 % confidence. Pure.

- a share: the exact one-sided limit (Clopper & Pearson, Biometrika 26, 1934);
- a value that 99 % of all inputs keep to: the distribution-free tolerance limit (Wilks, Annals of
  Mathematical Statistics 12, 1941);
- the mean of values between 0 and 1: Bentkus' inequality (Annals of Probability 32, 2004), in the
  form in which Bates et al. use it to bound a risk (Journal of the ACM 68, 2021).
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95
COVERAGE = 0.99
"""Share of all inputs that must keep to a cosine or max_abs budget."""

_HALVINGS = 60


def share_lower_bound(successes: int, trials: int) -> float:
    """Exact one-sided 95 % lower confidence bound of a share (Clopper–Pearson)."""
    if successes == 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if tail(successes, trials, middle) < 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def mean_upper_bound(total: float, trials: int, *, whole: bool) -> float:
    """95 % upper confidence bound of the mean of `trials` values between 0 and 1 that sum to
    `total`; `whole` where each value can be 0 or 1 only, which proves more."""
    if whole:
        return 1 - share_lower_bound(trials - round(total), trials)
    count = math.ceil(total - 1e-9)
    low, high = total / trials, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if math.e * (1 - tail(count + 1, trials, middle)) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def samples_needed(share: float) -> int:
    """How many samples, all agreeing, prove at least `share` with 95 % confidence."""
    if share >= 1:
        raise ValueError("no number of samples proves a share of 1")
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(share)) if share > 0 else 1


def samples_for_share(value: float, bound: float) -> int:
    """About how many samples prove `bound` when the share `value` of them agree."""
    count = samples_needed(bound)
    while value < 1 and count < 1_000_000:
        # the lower limit reaches `bound` when so many successes were unlikely at `bound` itself
        if tail(math.floor(value * count), count, bound) <= 1 - CONFIDENCE:
            break
        count = math.ceil(count * 1.1)
    return count


def samples_for_mean(value: float, bound: float, *, whole: bool) -> int:
    """About how many samples prove a mean of at most `bound` when it stays at `value`."""
    count = samples_needed(1 - bound)
    while count < 1_000_000 and mean_upper_bound(value * count, count, whole=whole) > bound:
        count = math.ceil(count * 1.1)
    return count


def tolerance_rank(samples: int) -> int | None:
    """Which of the sorted values, worst first, is a 99 %/95 % tolerance limit; None when too few.

    The r-th worst is one when at least r of `samples` inputs fall into a worst 1 % with 95 %.
    """
    rank = 0
    while tail(rank + 1, samples, 1 - COVERAGE) >= CONFIDENCE:
        rank += 1
    return rank or None


def tail(successes: int, trials: int, share: float) -> float:
    """P(at least `successes` of `trials`) when each succeeds with probability `share`."""
    if successes <= 0:
        return 1.0
    if share <= 0 or successes > trials:
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
