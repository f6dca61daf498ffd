"""The choice among what passed the gate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packager.domain.model import Constraints, Objective
from packager.errors import OptimizationError
from packager.optimize.choosing import (
    ITSELF,
    NOISE,
    TIE,
    Contender,
    Doubt,
    Gain,
    as_good_as_the_best,
    choose,
    in_doubt,
)

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


def test_where_nothing_was_measured_no_ratio_is_told() -> None:
    pinned = [Contender("fp16", False, 500, None), Contender("fused-fp16", False, 510, None)]
    choice = choose(SOURCE, pinned, Objective.LATENCY, source_allowed=False)
    assert choice.name == "fp16"
    assert "nothing was measured" in choice.reason
    assert choice.others["fused-fp16"] == "not measured, so not chosen"
    assert "0.00" not in " ".join([choice.reason, *choice.others.values()])


def test_a_pinned_precision_excludes_the_source() -> None:
    slower = Contender("int8", False, 300, 0.9)
    choice = choose(SOURCE, [slower], Objective.LATENCY, source_allowed=False)
    assert (choice.name, choice.others["source"]) == ("int8", "not in the pinned precision")
    with pytest.raises(OptimizationError, match="pinned"):
        choose(SOURCE, [], Objective.LATENCY, source_allowed=False)


def test_constraints_go_before_the_objective() -> None:
    source = Contender("source", True, 1000, 1.0, p99_ms=10.0, throughput=100.0)
    fast = Contender("fast", False, 900, 3.0, p99_ms=4.0, throughput=280.0)
    small = Contender("small", False, 250, 1.5, p99_ms=7.0, throughput=150.0)
    within = Constraints(max_size=500)
    choice = choose(source, [fast, small], Objective.LATENCY, constraints=within)
    assert choice.name == "small"
    assert "beyond max_size 500" in choice.others["fast"]
    assert "beyond max_size 500" in choice.others["source"]
    quick = choose(source, [fast, small], Objective.SIZE, constraints=Constraints(p99_ms=5.0))
    assert (quick.name, "beyond p99_ms" in quick.others["small"]) == ("fast", True)
    many = choose(source, [fast, small], Objective.SIZE, constraints=Constraints(min_qps=120))
    assert (many.name, "below 120" in many.others["source"]) == ("small", True)


def test_a_slower_candidate_is_taken_when_the_source_breaks_a_constraint() -> None:
    source = Contender("source", True, 1000, 1.0)
    slow = Contender("slow", False, 250, 0.7)
    choice = choose(source, [slow], Objective.LATENCY, constraints=Constraints(max_size=300))
    assert choice.name == "slow"


def test_what_was_not_measured_cannot_keep_to_a_bound_on_speed() -> None:
    with pytest.raises(OptimizationError) as caught:
        choose(
            SOURCE,
            [Contender("other", False, 10, None)],
            Objective.SIZE,
            constraints=Constraints(p99_ms=5.0, min_qps=10.0),
        )
    finding = caught.value.findings[0]
    assert finding.where == "constraints"
    assert "p99_ms: 5.0, min_qps: 10.0" in str(finding.expected)
    assert "cannot be shown" in str(finding.got)
    assert "--measurements" in str(finding.next_step)


def test_what_a_crowded_machine_cannot_tell_apart_is_told_apart_by_size() -> None:
    fast, small = Contender("fast", False, 900, 3.0), Contender("small", False, 250, 2.75)
    assert choose(SOURCE, [fast, small], Objective.LATENCY).name == "small"  # within a tenth
    behind = replace(small, speedup=2.65)
    assert choose(SOURCE, [fast, behind], Objective.LATENCY).name == "fast"
    unsure = [replace(one, spread=0.02) for one in (fast, behind)]
    assert choose(SOURCE, unsure, Objective.LATENCY).name == "small"
    far = [fast, replace(small, speedup=2.5, spread=9.0)]
    assert choose(SOURCE, far, Objective.LATENCY).name == "fast", "a spread counts up to a bound"
    doubtful = Contender("doubtful", False, 250, 1.07, spread=0.04)
    assert choose(SOURCE, [doubtful], Objective.LATENCY).name == "source"


def test_more_rounds_are_asked_where_they_could_tell() -> None:
    sure = {"a": Gain(3.0, 0.01), "b": Gain(2.95, 0.01), "c": Gain(2.0, 0.01)}
    assert as_good_as_the_best(sure, Objective.LATENCY) == ["a", "b"]
    assert in_doubt(sure, "b", Objective.LATENCY) is None, "b is as good, whatever more rounds say"
    unsure = sure | {"b": Gain(2.7, 0.02)}
    assert in_doubt(unsure, "b", Objective.LATENCY) == Doubt(("b", "a"), 1 - TIE)
    assert in_doubt(unsure, "a", Objective.LATENCY) is None, "b would not be the choice anyway"
    assert in_doubt(unsure, "b", Objective.SIZE) is None
    for gain, asked in ((1.02, None), (1.06, Doubt(("a",), 1 + NOISE))):
        slow = {"source": ITSELF, "a": Gain(gain, 0.02)}
        assert in_doubt(slow, "source", Objective.LATENCY) == asked
