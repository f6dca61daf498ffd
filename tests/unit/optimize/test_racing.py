"""Who can still be the choice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.domain.model import Objective
from packager.optimize.racing import MARGIN, in_the_race


def test_who_is_far_behind_leaves_the_race() -> None:
    speeds = {"source": 1.0, "a": 2.8, "b": 2.2, "c": 1.0}
    sizes = dict.fromkeys(speeds, 100)
    assert in_the_race(speeds, sizes, Objective.LATENCY) == ["a", "b"]
    assert in_the_race({**speeds, "c": 2.1}, sizes, Objective.LATENCY) == ["a", "b", "c"]
    assert in_the_race({**speeds, "c": None}, sizes, Objective.LATENCY) == ["a", "b", "c"]
    assert in_the_race(speeds, {**sizes, "c": 10}, Objective.SIZE) == ["c"]
    assert in_the_race({}, {}, Objective.LATENCY) == []


@given(
    st.dictionaries(
        st.text("abcdefgh", min_size=1, max_size=3),
        st.tuples(st.floats(0.2, 4), st.floats(0.81, 1.24)),
        min_size=1,
    )
)
def test_the_race_never_loses_the_winner(drawn: dict[str, tuple[float, float]]) -> None:
    """Whatever looks, threads and batches do to a ratio within the margin, the best is kept."""
    for objective in (Objective.LATENCY, Objective.THROUGHPUT):
        reach = MARGIN[objective] ** 0.5  # one rises, the other falls
        final = {
            name: first * min(max(drift, reach), 1 / reach)
            for name, (first, drift) in drawn.items()
        }
        speeds = {name: first for name, (first, _) in drawn.items()}
        kept = in_the_race(speeds, dict.fromkeys(drawn, 1), objective)
        assert max(final.values()) == pytest.approx(max(final[name] for name in kept))
