"""The gate for text: may this candidate speak for the source? Pure, and closed when in doubt.

Two questions, both answered by the 95 % confidence bound on the unfavourable side:

- greedy agreement: of the tokens that the source says to the user's prompts, the share that the
  candidate would say in the same place, after the same words. Its bound is the lower one of the
  ratio of sums over prompts (linearized variance, Cochran, Sampling Techniques, section 6), and
  never above what so many prompts prove when all of them agree (0.05 to the power of 1/n).
- perplexity: the candidate's over the source's, on the prompts themselves, by the upper bound.

Tokens of one text hang together, so the prompts are counted, not the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from packager.domain.model import Metric, Quality
from packager.optimize.confidence import CONFIDENCE, samples_needed
from packager.optimize.gate import Judgement

PROMPTS_AT_LEAST = 8
# Shares near one are skewed, and the 95 % point of Student's t then holds 91 times in 100; the
# 97.5 % point holds 94 to 95 times (tests/unit/optimize/text/test_text_gate.py).
_NORMAL = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model made of each prompt: tokens that agree of those that the source said, and its
    surprise in nats over the tokens of the prompt that could surprise."""

    agreed: tuple[int, ...]
    said: tuple[int, ...]
    surprise: tuple[float, ...]
    read: tuple[int, ...]


def judge_text(
    source: Heard, candidate: Heard, agreement_at_least: float, perplexity_at_most: float
) -> Judgement:
    """Hold a candidate against the source on the same prompts."""
    count = len(source.said)
    if count < PROMPTS_AT_LEAST or not sum(source.said) or not sum(source.read):
        needed = max(PROMPTS_AT_LEAST, samples_needed(min(agreement_at_least, 0.999)))
        return Judgement(
            False,
            f"{count} prompts prove nothing; give about {needed} in model.samples",
        )
    value, low = agreement(candidate)
    ratio, high = perplexity(source, candidate)
    quality = Quality(Metric.GREEDY_AGREEMENT, _down(value), _down(low), count)
    told = (
        f"{value:.1%} of the source's tokens agree on {count} prompts, at least {_down(low):.4f}"
        f" with 95 % confidence; perplexity {ratio:.4f}× the source's, at most {_up(high):.4f}"
    )
    lacking = []
    if low < agreement_at_least:
        needed = samples_needed(agreement_at_least) if agreement_at_least < 1 else 0
        few = f" (it takes {needed} prompts or more to prove)" if count < needed else ""
        lacking.append(f"the budget is {agreement_at_least}{few}")
    if high > perplexity_at_most:
        lacking.append(f"perplexity may be at most {perplexity_at_most}×")
    return Judgement(not lacking, "; ".join([told, *lacking]), quality)


def agreement(heard: Heard) -> tuple[float, float]:
    """The share of tokens that agree, and its lower bound."""
    value, error = _ratio(heard.agreed, heard.said)
    most = (1 - CONFIDENCE) ** (1 / len(heard.said))
    return value, max(0.0, min(value - student(len(heard.said) - 1) * error, most))


def perplexity(source: Heard, candidate: Heard) -> tuple[float, float]:
    """The candidate's perplexity over the source's, and its upper bound."""
    more = [one - other for one, other in zip(candidate.surprise, source.surprise, strict=True)]
    value, error = _ratio(more, source.read)
    bound = value + student(len(source.read) - 1) * error
    return math.exp(min(value, 50)), math.exp(min(bound, 50))


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t (expansion of Abramowitz and Stegun, 26.7.5); within 1 % from
    four degrees of freedom on."""
    z = _NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _ratio(parts: Sequence[float], wholes: Sequence[float]) -> tuple[float, float]:
    """The ratio of two sums and its standard error."""
    total, count = sum(wholes), len(wholes)
    ratio = sum(parts) / total
    squares = sum((part - ratio * whole) ** 2 for part, whole in zip(parts, wholes, strict=True))
    return ratio, math.sqrt(squares * count / (count - 1)) / total


def _down(value: float) -> float:
    return math.floor(value * 10_000) / 10_000


def _up(value: float) -> float:
    return math.ceil(value * 10_000) / 10_000
