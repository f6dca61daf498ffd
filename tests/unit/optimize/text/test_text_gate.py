"""The gate for text: bounds that hold what they promise, and doubt that closes it."""

import numpy as np
import pytest

from packager.optimize.text.gate import Heard, agreement, judge_text, perplexity, student


def heard(agreed: list[int], said: int = 20, surprise: float = 100.0) -> Heard:
    count = len(agreed)
    return Heard(tuple(agreed), (said,) * count, (surprise,) * count, (50,) * count)


def test_an_equal_model_passes_with_enough_prompts() -> None:
    source = heard([20] * 40)
    judged = judge_text(source, source, 0.9, 1.02)
    assert judged.passed
    assert judged.quality
    assert judged.quality.value == 1.0
    assert judged.quality.bound == pytest.approx(0.05 ** (1 / 40), abs=1e-4)


def test_few_prompts_prove_little() -> None:
    source = heard([20] * 10)
    judged = judge_text(source, source, 0.9, 1.02)
    assert not judged.passed
    assert "29 prompts or more" in judged.reason
    assert not judge_text(heard([20] * 3), heard([20] * 3), 0.1, 2.0).passed


def test_words_that_differ_are_rejected() -> None:
    source, other = heard([20] * 40), heard([20, 10] * 20)
    judged = judge_text(source, other, 0.9, 1.02)
    assert not judged.passed
    assert "75.0%" in judged.reason


def test_a_model_that_is_more_surprised_is_rejected_though_it_says_the_same() -> None:
    source, other = heard([20] * 40), heard([20] * 40, surprise=103.0)
    judged = judge_text(source, other, 0.9, 1.02)
    assert not judged.passed
    assert "perplexity may be at most 1.02" in judged.reason
    ratio, bound = perplexity(source, other)
    assert ratio == pytest.approx(np.exp(3 / 50))
    assert bound == pytest.approx(ratio)


def test_students_quantile() -> None:
    known = {7: 2.3646, 15: 2.1314, 39: 2.0227, 100: 1.9840}
    assert all(
        student(freedom) == pytest.approx(value, abs=2e-3) for freedom, value in known.items()
    )


def test_the_bound_of_the_agreement_holds_nineteen_times_in_twenty() -> None:
    """Prompts whose tokens agree together or not at all, which token counts would misjudge."""
    chance = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        good = chance.random(60) < 0.8
        agreed = np.where(good, chance.binomial(30, 0.97, 60), chance.binomial(30, 0.5, 60))
        truth = 0.8 * 0.97 + 0.2 * 0.5
        held += agreement(Heard(tuple(agreed.tolist()), (30,) * 60, (), ()))[1] <= truth
    assert held / 400 >= 0.93
