"""Two candidates side by side: rounds end when the bound is left, and figures are everybody's."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from packager.optimize import duelling
from packager.optimize.duelling import AT_LEAST, BATCHES_AT_LEAST, Side, duel
from packager.optimize.timing import CLOSE

FEEDS = [{"x": np.zeros((1, 2), np.float32)}]


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float], float], None]:
    """Graphs that take so many seconds a row, give or take a share of noise."""

    def give(seconds: dict[str, float], noise: float) -> None:
        draw = random.Random(7)
        monkeypatch.setattr(duelling, "open_session", lambda graph, *_, **__: graph.name)

        def caller(name: str, feeds: Sequence[dict]) -> Callable[[int], float]:
            rows = len(feeds[0]["x"])
            return lambda _: seconds[name] * rows * draw.uniform(1 - noise, 1 + noise)

        monkeypatch.setattr(duelling, "caller", caller)

    return give


def test_it_ends_when_it_is_clear_who_is_ahead(clocked: Callable) -> None:
    clocked({"source": 4e-3, "small": 1.02e-3, "best": 1e-3}, 0.1)
    told = duel(Path("source"), Side(Path("small"), (1, 1)), Side(Path("best"), (1, 1)), FEEDS, 0.9)
    low, high = told["between"]
    assert low > 0.9 or high - low <= 2 * CLOSE.known * high
    small, best = (side["figures"][0] for side in told["sides"])
    assert AT_LEAST <= small["rounds"] == best["rounds"] < 60, "not as many as a ratio would need"
    assert small["latency_speedup"] == pytest.approx(3.9, rel=0.1)
    assert best["latency_speedup"] == pytest.approx(4.0, rel=0.1)
    assert told["sides"][0]["rounds"][0][:2] == [1, 1]


def test_near_the_bound_it_goes_on_until_the_ratio_is_known(clocked: Callable) -> None:
    clocked({"source": 4e-3, "small": 1 / 900, "best": 1e-3}, 0.1)
    told = duel(Path("source"), Side(Path("small"), (1, 1)), Side(Path("best"), (1, 1)), FEEDS, 0.9)
    assert told["sides"][0]["figures"][0]["rounds"] > 30


def test_alone_it_is_the_source_that_must_be_beaten_and_batches_count_by_the_row(
    clocked: Callable,
) -> None:
    clocked({"source": 1e-3, "half": 0.5e-3}, 0.01)
    told = duel(Path("source"), Side(Path("half"), (2, 16)), None, FEEDS, 1.05)
    assert told["between"][0] > 1.9
    (only,) = told["sides"]
    assert only["figures"][0]["rounds"] == BATCHES_AT_LEAST
    assert only["figures"][0]["batch"] == 16
    assert "latency_p50_ms" not in only["figures"][0]


def test_threads_and_batches_may_differ(clocked: Callable) -> None:
    clocked({"source": 4e-3, "one": 1e-3, "other": 2e-3}, 0.01)
    told = duel(Path("source"), Side(Path("one"), (2, 16)), Side(Path("other"), (1, 1)), FEEDS, 0.9)
    assert told["between"][0] > 1.9, "of a row, not of a batch"
