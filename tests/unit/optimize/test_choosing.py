"""The choice among what passed the gate."""

from __future__ import annotations

import pytest

from packager.domain.model import Objective
from packager.errors import OptimizationError
from packager.optimize.choosing import Contender, choose

SOURCE = Contender("source", True, 1000, 1.0)


def test_nothing_better_leaves_the_source() -> None:
    slow = Contender("slow", False, 300, 0.24)
    same = Contender("same", True, 1000, 1.04)
    choice = choose(SOURCE, [slow, same], Objective.LATENCY)
    assert choice.name == "source"
    assert "worse than the source: 0.24×" in choice.others["slow"]
    assert "beyond noise" in choice.others["same"]


def test_the_fastest_wins_for_latency_and_the_smallest_for_size() -> None:
    fast = Contender("fast", False, 900, 3.0)
    small = Contender("small", False, 250, 1.2)
    assert choose(SOURCE, [fast, small], Objective.LATENCY).name == "fast"
    assert choose(SOURCE, [fast, small], Objective.THROUGHPUT).name == "fast"
    assert choose(SOURCE, [fast, small], Objective.COST).name == "fast"
    assert choose(SOURCE, [fast, small], Objective.SIZE).name == "small"


def test_among_equals_the_lossless_one_wins() -> None:
    lossy = Contender("a-lossy", False, 300, 2.02)
    lossless = Contender("b-lossless", True, 1000, 2.0)
    choice = choose(SOURCE, [lossy, lossless], Objective.LATENCY)
    assert choice.name == "b-lossless"
    assert "as good as b-lossless" in choice.others["a-lossy"]


def test_what_was_not_measured_is_not_chosen() -> None:
    unknown = Contender("unknown", True, 500, None)
    choice = choose(SOURCE, [unknown], Objective.LATENCY)
    assert choice.name == "source"
    assert choice.others["unknown"] == "not measured, so not chosen"


def test_a_pinned_precision_excludes_the_source() -> None:
    slower = Contender("int8", False, 300, 0.9)
    choice = choose(SOURCE, [slower], Objective.LATENCY, source_allowed=False)
    assert (choice.name, choice.others["source"]) == ("int8", "not in the pinned precision")
    with pytest.raises(OptimizationError, match="pinned"):
        choose(SOURCE, [], Objective.LATENCY, source_allowed=False)
