"""One simulated replica does with requests what the runtime's queue does."""

from __future__ import annotations

import random

import pytest

from packager.domain.placement import Service
from packager.place.replica import Model, Replica

simpy = pytest.importorskip("simpy")


def played(service: Service, comes_s: list[float], limit_s: float) -> list[float | None]:
    """Seconds that each request's reply took, None when it was refused; no spread in the times."""
    environment = simpy.Environment()
    replica = Replica(environment, Model.of(service), random.Random(1), 0.0)
    found: dict[int, float | None] = {}
    for number, at in enumerate(comes_s):
        event = environment.timeout(at)
        event.callbacks.append(
            lambda _, number=number: replica.ask(
                limit_s, lambda taken: found.__setitem__(number, taken)
            )
        )
    environment.run()
    return [found[number] for number in range(len(comes_s))]


def test_those_that_wait_go_together_and_the_first_goes_alone() -> None:
    # Alone 10 ms, four together 20 ms.
    service = Service("x", 10.0, 10.0, 200.0, "test", batch=4)
    times = played(service, [0.0, 0.001, 0.002, 0.003, 0.004, 0.005], limit_s=1.0)
    assert times == pytest.approx([0.010, 0.029, 0.028, 0.027, 0.026, 0.035])


def test_an_idle_server_is_slower_than_a_warm_one() -> None:
    service = Service("x", 10.0, 10.0, 100.0, "test", idle_ms=15.0)
    assert played(service, [0.0, 0.001, 1.0], limit_s=1.0) == pytest.approx([0.015, 0.024, 0.015])


def test_who_cannot_be_answered_in_time_is_refused_at_once() -> None:
    service = Service("x", 10.0, 10.0, 100.0, "test")
    # The first run tells how long one takes; a fourth at a time would take 40 ms.
    times = played(service, [0.0, 0.02, 0.0201, 0.0202, 0.0203], limit_s=0.0305)
    assert [time is None for time in times] == [False, False, False, False, True]


def test_who_waited_too_long_is_refused() -> None:
    # Nothing is known before the first run ends, so that all may wait; it takes longer than that.
    service = Service("x", 10.0, 10.0, 100.0, "test")
    times = played(service, [0.0, 0.001, 0.002], limit_s=0.009)
    assert times[1] is None


def test_a_queue_is_bounded() -> None:
    service = Service("x", 1000.0, 1000.0, 1.0, "test")
    times = played(service, [0.0 + number / 1e6 for number in range(300)], limit_s=1e9)
    assert sum(time is None for time in times) == 300 - 257
