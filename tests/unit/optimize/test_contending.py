"""Ratios to the source in different cells, brought to one measure."""

from __future__ import annotations

import pytest

from packager.digest import Digest
from packager.domain.model import Objective
from packager.optimize.contending import contender, scaling
from packager.optimize.record import Figures, Row

NOTHING = Digest.of(b"")


def _row(**ratios: float) -> Row:
    """Of a candidate whose source takes 10 ms with one thread and 6 ms with two."""
    source = {1: 10.0, 2: 6.0}
    figures = []
    for name, ratio in ratios.items():
        threads = int(name.removeprefix("t"))
        p50 = source[threads] / ratio
        figures.append(Figures(threads, 1, 20, p50, p50, 1000 / p50, ratio, ratio, 0.01))
    return Row(NOTHING, NOTHING, "cpu", "here", tuple(figures))


def test_who_gains_less_with_more_threads_is_the_faster_all_the_same() -> None:
    """2.9 times with one thread is 3.4 ms; 2.3 times with two is 2.6 ms."""
    alone, together = _row(t1=2.9, t2=1.8), _row(t1=2.85, t2=2.3)
    source_at = scaling([alone, together], Objective.LATENCY)
    assert source_at == pytest.approx({(1, 1): 1.0, (2, 1): 10 / 6})
    gains = [
        contender("c", 1, row, Objective.LATENCY, lossless=False, source_at=source_at).speedup
        for row in (alone, together)
    ]
    assert gains == pytest.approx([2.9 * 6 / 10, 2.3])


def test_without_a_first_look_ratios_are_taken_as_they_are() -> None:
    row = _row(t2=2.0)
    source_at = scaling([row], Objective.LATENCY)
    assert source_at == {}
    told = contender("c", 7, row, Objective.LATENCY, lossless=True, source_at=source_at)
    assert (told.speedup, told.spread, told.size) == (2.0, 0.01, 7)
    assert contender("c", 7, None, Objective.LATENCY, lossless=True, source_at={}).speedup is None
