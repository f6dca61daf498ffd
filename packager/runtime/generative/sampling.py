"""From logits to a token: greedy, or drawn with temperature, top-k, top-p, min-p and penalties.

Every request has a generator of its own seed, so that its answer depends on nothing that other
requests do. Guessed tokens are accepted by rejection sampling (Leviathan et al. 2023, "Fast
Inference from Transformers via Speculative Decoding"): a guess is a distribution with all its
weight on one token, which is accepted with the model's probability of it, and else a token is drawn
from what is left. What comes out is distributed as if nothing had been guessed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """As OpenAI's and vLLM's parameters of the same names; temperature 0 is greedy."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int | None = None
    logprobs: int | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, its log-probability, and the most likely ones, when these were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Draws the tokens of one request."""

    def __init__(self, settings: SamplingSettings, prompt: Sequence[int]) -> None:
        self._settings = settings
        self._chance = np.random.default_rng(settings.seed)
        self._seen = set(prompt)
        self._made: Counter[int] = Counter()
        self._plain = not (
            settings.logit_bias
            or settings.repetition_penalty != 1.0
            or settings.frequency_penalty
            or settings.presence_penalty
        )

    def choose(self, logits: Array, allowed: Array | None = None) -> Chosen:
        """The next token; `allowed` is a mask of the vocabulary for constrained answers. Raises
        ValueError where no token may follow, or the model's figures are no numbers."""
        shaped = self._shaped(logits, allowed)
        if self._settings.temperature == 0:
            token = int(shaped.argmax())
            _refuse_none(float(shaped[token]))
        else:
            weights = self._weights(shaped)
            token = int(self._chance.choice(len(weights), p=weights))
        return self._took(token, shaped)

    def accepts(self, guess: int, logits: Array) -> tuple[bool, Chosen]:
        """Whether a guessed token stands, and the token that is taken in any case."""
        shaped = self._shaped(logits, None)
        if self._settings.temperature == 0:
            token = int(shaped.argmax())
            return token == guess, self._took(token, shaped)
        weights = self._weights(shaped)
        if self._chance.random() < weights[guess]:
            return True, self._took(guess, shaped)
        weights = weights.copy()
        weights[guess] = 0.0
        total = weights.sum()
        if total <= 0:  # the guess had all the weight, up to rounding
            return True, self._took(guess, shaped)
        token = int(self._chance.choice(len(weights), p=weights / total))
        return False, self._took(token, shaped)

    def _took(self, token: int, shaped: Array) -> Chosen:
        if not self._plain:
            self._made[token] += 1
            self._seen.add(token)
        if self._settings.logprobs is None:
            return Chosen(token)
        logprobs = _log_softmax(shaped)
        count = self._settings.logprobs
        best = np.argsort(-logprobs, kind="stable")[:count]
        top = ((int(one), float(logprobs[one])) for one in best)
        return Chosen(token, float(logprobs[token]), tuple(top))

    def _shaped(self, logits: Array, allowed: Array | None) -> Array:
        settings = self._settings
        if self._plain and allowed is None:
            return logits
        shaped = logits.copy()
        if settings.repetition_penalty != 1.0 and self._seen:
            seen = np.fromiter(self._seen, np.int64)
            values = shaped[seen]
            penalty = settings.repetition_penalty
            shaped[seen] = np.where(values > 0, values / penalty, values * penalty)
        for token, count in self._made.items():
            shaped[token] -= settings.frequency_penalty * count + settings.presence_penalty
        for token, bias in settings.logit_bias.items():
            shaped[token] += bias
        if allowed is not None:
            shaped[~allowed] = -np.inf
        return shaped

    def _weights(self, logits: Array) -> Array:
        settings = self._settings
        scaled = logits.astype(np.float64) / settings.temperature
        highest = scaled.max()
        _refuse_none(float(highest))
        weights = np.exp(scaled - highest)
        weights /= weights.sum()
        kept = np.ones(len(weights), bool)
        if settings.min_p > 0:
            kept &= weights >= settings.min_p * weights.max()
        if 0 < settings.top_k < len(weights):
            kept &= weights >= np.partition(weights, -settings.top_k)[-settings.top_k]
        if settings.top_p < 1:
            order = np.argsort(-weights, kind="stable")
            before = np.cumsum(weights[order]) - weights[order]
            kept[order[before >= settings.top_p]] = False
        kept[int(weights.argmax())] = True
        weights = np.where(kept, weights, 0.0)
        chosen: Array = weights / weights.sum()
        return chosen


def _refuse_none(highest: float) -> None:
    if not math.isfinite(highest):
        raise ValueError("no token may follow")


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: Array = shifted - np.log(np.exp(shifted).sum())
    return result
