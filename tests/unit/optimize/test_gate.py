"""The gate: bounds by the book, and closed when in doubt."""

from __future__ import annotations

import numpy as np
import pytest

from packager.domain.model import Metric, QualityBudget
from packager.optimize.confidence import samples_needed, share_lower_bound, tolerance_rank
from packager.optimize.gate import is_lossless, judge

TOP1 = QualityBudget(Metric.TOP1_AGREEMENT, 0.99)


def _scores(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    return {"y": np.random.RandomState(seed).rand(count, 10).astype(np.float32)}


def _disagreeing(scores: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    changed = scores["y"].copy()
    changed[:count] = -changed[:count]
    return {"y": changed}


def test_bounds_against_published_values() -> None:
    # Clopper–Pearson, one-sided 95 %: all of n succeed → 0.05^(1/n); 9 of 10 → 0.6058
    assert share_lower_bound(299, 299) == pytest.approx(0.05 ** (1 / 299), abs=1e-9)
    assert share_lower_bound(9, 10) == pytest.approx(0.60584, abs=1e-4)
    assert share_lower_bound(0, 10) == 0.0
    # Wilks: 299 samples for a one-sided 99 %/95 % limit, 473 for the second worst
    assert (tolerance_rank(298), tolerance_rank(299)) == (None, 1)
    assert (tolerance_rank(472), tolerance_rank(473)) == (1, 2)
    assert [samples_needed(share) for share in (0.9, 0.99, 0.995)] == [29, 299, 598]


def test_all_agreeing_on_enough_samples_passes() -> None:
    scores = _scores(299)
    judgement = judge(scores, scores, TOP1)
    assert judgement.passed
    assert judgement.quality is not None
    assert judgement.quality.bound >= 0.99


def test_all_agreeing_on_too_few_tells_how_many() -> None:
    scores = _scores(298)
    judgement = judge(scores, scores, TOP1)
    assert not judgement.passed
    assert "299" in judgement.reason


def test_a_good_value_with_a_poor_bound_is_not_enough() -> None:
    scores = _scores(500)
    judgement = judge(scores, _disagreeing(scores, 2), TOP1)
    assert not judgement.passed
    assert judgement.quality is not None
    assert judgement.quality.value >= 0.99 > judgement.quality.bound
    assert "to prove" in judgement.reason


def test_fast_and_wrong_by_six_in_a_thousand_is_rejected() -> None:
    scores = _scores(5000)
    budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.995)
    judgement = judge(scores, _disagreeing(scores, 30), budget)
    assert not judgement.passed
    assert "the budget is 0.995" in judgement.reason


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", list(Metric))
def test_nan_and_infinity_are_rejected(poison: float, metric: Metric) -> None:
    scores = _scores(400)
    bad = {"y": scores["y"].copy()}
    bad["y"][17, 3] = poison
    budget = QualityBudget(metric, 1e9 if metric is Metric.MAX_ABS else 0.01)
    assert not judge(scores, bad, budget).passed
    assert not judge(bad, scores, budget).passed
    assert not is_lossless(bad, {"y": np.where(np.isnan(bad["y"]), np.nan, scores["y"])})


def test_other_names_shapes_types_and_nothing_are_rejected() -> None:
    scores = _scores(400)
    for other in (
        {},
        {"z": scores["y"]},
        {"y": scores["y"][:, :5]},
        {"y": scores["y"].astype(np.int64)},
        {"y": scores["y"], "z": scores["y"]},
    ):
        assert not judge(scores, other, TOP1).passed
        assert not is_lossless(scores, other)
    assert not judge({}, {}, TOP1).passed
    assert not judge(_scores(0), _scores(0), TOP1).passed


def test_swapped_outputs_are_seen() -> None:
    both = {"a": _scores(400, 1)["y"], "b": _scores(400, 2)["y"]}
    assert judge(both, both, TOP1).passed
    assert not judge(both, {"a": both["b"], "b": both["a"]}, TOP1).passed


def test_top1_does_not_see_single_values_and_says_what_would() -> None:
    single = {"y": np.ones((400, 1), np.float32)}
    judgement = judge(single, single, TOP1)
    assert not judgement.passed
    assert "cosine" in judgement.reason


def test_labels_must_be_equal_sample_by_sample() -> None:
    labels = {"label": np.arange(400)}
    assert judge(labels, labels, TOP1).passed
    wrong = {"label": np.where(np.arange(400) < 50, -1, np.arange(400))}
    assert not judge(labels, wrong, TOP1).passed
    assert not judge(labels, labels, QualityBudget(Metric.COSINE, 0.1)).passed


def test_numbers_that_come_as_floats_must_be_equal() -> None:
    """A recognizer gives the characters that it read; where the largest stands says nothing."""
    read = {"y": np.tile(np.array([[9.0, 3.0, 7.0]], np.float32), (400, 1))}
    other = {"y": read["y"] - np.array([0, 1, 1], np.float32)}
    assert judge(read, read, TOP1).passed
    assert not judge(read, other, TOP1).passed
    sure = {"y": np.tile(np.array([[1.0, 0.0, 0.0]], np.float32), (400, 1))}
    assert judge(sure, {"y": sure["y"] * np.float32(0.9)}, TOP1).passed


def test_cosine_and_max_abs_use_the_tolerance_limit() -> None:
    scores = _scores(473)
    noisy = {"y": scores["y"] + np.float32(0.001)}
    noisy["y"][0] += 5  # one outlier: the second worst is the limit for 473 samples
    worst = judge(scores, noisy, QualityBudget(Metric.MAX_ABS, 0.01))
    assert worst.passed
    assert worst.quality is not None
    assert worst.quality.value > 5
    assert judge(scores, noisy, QualityBudget(Metric.COSINE, 0.999)).passed
    noisy["y"][1] += 5
    assert not judge(scores, noisy, QualityBudget(Metric.MAX_ABS, 0.01)).passed


def test_sqnr_is_told_in_decibels_and_held_to_the_worst_output() -> None:
    scores = _scores(400)
    noise = np.float32(1e-2) * np.random.RandomState(7).standard_normal((400, 10))
    squares = (scores["y"] ** 2).sum(axis=1, keepdims=True) / (noise**2).sum(1, keepdims=True)
    signal = np.sqrt(squares)
    made = {"y": scores["y"] + noise * signal / 100}  # 40 dB in every sample
    quality = judge(scores, made, QualityBudget(Metric.SQNR, 39.9)).quality
    assert quality is not None
    assert quality.value == pytest.approx(40, abs=1e-3)
    assert judge(scores, made, QualityBudget(Metric.SQNR, 39.9)).passed
    assert not judge(scores, made, QualityBudget(Metric.SQNR, 40.1)).passed
    assert judge(scores, scores, QualityBudget(Metric.SQNR, Metric.SQNR.perfect)).passed
    silent = {"y": np.zeros((400, 10), np.float32)}
    assert judge(silent, silent, QualityBudget(Metric.SQNR, 60)).passed
    assert not judge(silent, made, QualityBudget(Metric.SQNR, 1)).passed


def test_evidence_never_claims_more_than_was_proved() -> None:
    scores = _scores(400)
    made = {"y": scores["y"] * np.linspace(1, 1 + 2e-4, 10, dtype=np.float32)}
    judgement = judge(scores, made, QualityBudget(Metric.COSINE, 0.9))
    assert judgement.quality is not None
    assert judgement.quality.bound == 0.999999
    assert "≥ 0.999999" in judgement.reason


def test_an_output_without_values_is_no_traceback() -> None:
    empty = {"y": np.zeros((400, 1, 0), np.float32), "z": _scores(400)["y"]}
    for metric in (Metric.MAX_ABS, Metric.COSINE, Metric.SQNR):
        bound = 0.0 if metric is Metric.MAX_ABS else 0.99
        assert judge(empty, empty, QualityBudget(metric, bound)).passed
    assert not judge(empty, empty, TOP1).passed


def test_cosine_and_max_abs_need_299_samples() -> None:
    scores = _scores(298)
    for budget in (QualityBudget(Metric.COSINE, 0.5), QualityBudget(Metric.MAX_ABS, 1.0)):
        judgement = judge(scores, scores, budget)
        assert not judgement.passed
        assert "299" in judgement.reason


def test_rounding_is_lossless_and_more_is_not() -> None:
    scores = _scores(10)
    assert is_lossless(scores, {"y": scores["y"] + np.float32(1e-6)})
    assert not is_lossless(scores, {"y": scores["y"] + np.float32(1e-3)})
