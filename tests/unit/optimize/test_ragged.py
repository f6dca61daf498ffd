"""Rows of several sizes in one array, and how large each was."""

from __future__ import annotations

import numpy as np
import pytest

from packager.domain.model import Metric, QualityBudget
from packager.optimize.gate import judge
from packager.optimize.ragged import SIZES, aligned, joined, stacked

ROWS = [np.arange(size * 2, dtype=np.int64).reshape(size, 2) for size in (3, 0, 2)]


def test_rows_of_one_size_stay_as_they_are() -> None:
    assert set(stacked("y", ROWS[:1] * 4)) == {"y"}


def test_every_row_can_be_cut_out_again() -> None:
    made = stacked("y", ROWS)
    for row, filled, (count, width) in zip(ROWS, made["y"], made["y" + SIZES], strict=True):
        assert np.array_equal(filled[:count, :width], row)


def test_parts_with_and_without_sizes_are_joined() -> None:
    parts = [stacked("y", ROWS[:1]), stacked("y", ROWS[1:]), stacked("y", [*ROWS, *ROWS])]
    whole, alike = joined(parts), stacked("y", [*ROWS, *ROWS, *ROWS])
    assert set(whole) == set(alike)
    assert all(np.array_equal(whole[name], alike[name]) for name in alike)


def test_text_is_filled_up_with_nothing() -> None:
    made = stacked("y", [np.array(["a", "bc"]), np.array(["d"])])
    assert made["y"].tolist() == [["a", "bc"], ["d", ""]]


def test_another_number_of_dimensions_is_no_row_of_the_same_output() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        stacked("y", [np.zeros(2), np.zeros((2, 2))])


def test_a_row_of_another_size_is_one_that_differs() -> None:
    exact = [np.ones((3, 1), np.int64)] * 400
    off = [np.ones((2, 1), np.int64), *exact[1:]]
    budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.9)
    quality = judge(*aligned(stacked("y", exact), stacked("y", off)), budget).quality
    assert quality is not None
    assert quality.value == pytest.approx(399 / 400)
    blind = judge(*aligned(stacked("y", exact), stacked("y", off)), QualityBudget(Metric.COSINE, 0))
    assert not blind.passed
