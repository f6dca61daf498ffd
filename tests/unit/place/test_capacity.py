"""The queueing model against formulas that it must agree with, and against a simulation."""

from __future__ import annotations

import random
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.domain.placement import Service
from packager.place.capacity import (
    UTILIZATIONS,
    Queue,
    erlang_c,
    headroom,
    highest_utilization,
    replicas_for,
    reply_ms,
)


def test_erlang_c_of_one_server_is_its_utilization() -> None:
    assert erlang_c(1, 0.7) == pytest.approx(0.7)


def test_erlang_c_of_two_servers() -> None:
    # M/M/2 at load 1: 1/3 of the requests wait (Erlang's table).
    assert erlang_c(2, 0.5) == pytest.approx(1 / 3)


@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("utilization", [0.5, 0.7, 0.9])
def test_the_percentile_is_near_a_simulated_queue(servers: int, utilization: float) -> None:
    p50, p99 = 4.0, 9.0
    sigma = log(p99 / p50) / 2.3263
    mean = p50 * exp(sigma**2 / 2)
    service = Service("x", p50, p99, servers / mean * 1000, "test")
    chance = random.Random(7)
    free, now, replies = [0.0] * servers, 0.0, []
    for _ in range(200_000):
        now += chance.expovariate(servers / mean * utilization)
        first = min(range(servers), key=free.__getitem__)
        begin = max(now, free[first])
        free[first] = begin + p50 * exp(sigma * chance.gauss(0, 1))
        replies.append(free[first] - now)
    seen = sorted(replies)[int(0.95 * len(replies))]
    assert reply_ms(service, utilization, 0.95) == pytest.approx(seen, rel=0.25)


def replay(service: Service, utilization: float, count: int = 120_000) -> list[float]:
    """Reply times of a server that batches, played request by request, in ascending order."""
    chance, runs = random.Random(5), Queue.of(service).runs
    sigma = log(service.p99_ms / service.p50_ms) / 2.3263
    now, came = 0.0, []
    for _ in range(count):
        now += chance.expovariate(service.per_second / 1000 * utilization)
        came.append(now)
    free, first, replies = 0.0, 0, []
    while first < count:
        begin, together = max(free, came[first]), 1
        mean = runs.idle_ms
        if came[first] < free:
            while together < runs.batch and first + together < count:
                if came[first + together] > begin:
                    break
                together += 1
            mean = runs.run_ms(together)
        free = begin + mean * exp(sigma * chance.gauss(0, 1) - sigma**2 / 2)
        replies += [free - came[first + each] for each in range(together)]
        first += together
    return sorted(replies)


@pytest.mark.parametrize("utilization", [0.5, 0.7, 0.9])
@pytest.mark.parametrize(
    ("batch", "p50", "p99", "rate", "idle"),
    [
        (1, 4.0, 9.0, 220.0, None),
        (1, 1.3, 1.6, 760.0, 2.1),
        (4, 6.5, 9.0, 215.0, 7.9),
        (32, 2.0, 3.0, 8000.0, 2.5),
    ],
)
def test_batches_and_cold_starts_as_played_request_by_request(
    batch: int, p50: float, p99: float, rate: float, idle: float | None, utilization: float
) -> None:
    service = Service("x", p50, p99, rate, "test", batch, idle)
    seen = replay(service, utilization)
    for percentile in (0.5, 0.95):
        predicted = reply_ms(service, utilization, percentile)
        assert predicted == pytest.approx(seen[int(percentile * len(seen))], rel=0.08)


@given(
    batch=st.sampled_from([2, 8, 32]),
    gain=st.floats(1.2, 8),
    spread=st.floats(1, 3),
)
@settings(max_examples=8, deadline=None)
def test_a_busier_server_that_batches_is_no_faster(batch: int, gain: float, spread: float) -> None:
    service = Service("x", 5.0, 5.0 * spread, 200.0 * min(gain, batch), "test", batch)
    times = [reply_ms(service, u, 0.95) for u in UTILIZATIONS]
    assert all(later >= sooner * 0.999 for sooner, later in pairwise(times))


@given(
    p50=st.floats(0.1, 500),
    spread=st.floats(1, 10),
    rate=st.floats(0.5, 10_000),
    percentile=st.sampled_from([0.5, 0.95]),
)
@settings(max_examples=60, deadline=None)
def test_busier_is_never_faster(p50: float, spread: float, rate: float, percentile: float) -> None:
    service = Service("x", p50, p50 * spread, rate, "test")
    times = [reply_ms(service, u, percentile) for u in UTILIZATIONS]
    assert times == sorted(times)
    assert times[0] >= p50 * 0.5


def test_the_highest_utilization_keeps_the_limit_and_the_next_does_not() -> None:
    service = Service("x", 10.0, 12.0, 100.0, "test")
    found = highest_utilization(service, 0.95, 40.0)
    assert found is not None
    assert reply_ms(service, found, 0.95) <= 40.0
    above = [u for u in UTILIZATIONS if u > found]
    assert above
    assert reply_ms(service, above[0], 0.95) > 40.0


def test_a_limit_below_the_service_time_is_kept_by_nothing() -> None:
    assert highest_utilization(Service("x", 10.0, 12.0, 100.0, "test"), 0.95, 9.0) is None


def test_head_room() -> None:
    assert headroom(10, 300, 60, elastic=False) == 10
    assert headroom(10, 300, 60, elastic=True) == pytest.approx(2.8)
    assert headroom(10, 300, 900, elastic=True) == 10
    assert headroom(10, 0, 60, elastic=True) == 10


def test_whole_replicas() -> None:
    assert replicas_for(180.0, 90.0) == 2
    assert replicas_for(180.1, 90.0) == 3
    assert Queue.of(Service("x", 10.0, 10.0, 400.0, "test")).servers == 4
