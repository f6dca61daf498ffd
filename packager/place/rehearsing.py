"""A bad day on the planned placement: a discrete-event simulation. The only module with SimPy.

Requests come as a Poisson process whose rate follows the scenario; each goes to a site by the
plan's shares, and there to a random replica with a bounded queue, as the runtime has one: who could
not be answered within the limit is refused at once. Service times are log-normal through the
measured median and 99th percentile, stretched so that a saturated replica does what was measured.

A pool of many replicas is simulated by at most `SIMULATED` of them with their part of the requests,
which is the same thing for traffic that is split at random. Where that is still too much, what is
slow (ramps, cold starts, detection) is played faster by one factor, and told: queues settle within
milliseconds and do not mind. Everything is drawn from a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil, exp, log
from typing import Any

from packager.domain.placement import Demand, Placement, Pool, Scaling
from packager.domain.target import Region
from packager.errors import InputError
from packager.place.capacity import Queue
from packager.place.options import Option, Problem

SIMULATED = 4
BUCKETS = 48
CALM_S = 60.0
HOLD_S = 120.0
DETECTED_S = 30.0
SCALED_EVERY_S = 15.0
ROLLED_S = 45.0
MOST_REQUESTS = 400_000
_Z99 = 2.3263478740408408


class Scenario(StrEnum):
    """What goes wrong."""

    SPIKE = "spike"
    LOST_SITE = "lost site"
    ROLL_OUT = "slow roll-out"


@dataclass
class Bucket:
    """What happened in one slice of time. Rates are of all requests, not only those simulated."""

    at_s: float
    arrived: float = 0.0
    shed: float = 0.0
    late: float = 0.0
    replies_ms: list[float] = field(default_factory=list)
    replicas: float = 0.0

    def as_dict(self) -> dict[str, float | None]:
        ordered = sorted(self.replies_ms)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None
        return {
            "at_s": round(self.at_s, 1),
            "arrived": round(self.arrived, 1),
            "shed": round(self.shed, 1),
            "late": round(self.late, 1),
            "p95_ms": None if p95 is None else round(p95, 2),
            "replicas": round(self.replicas, 2),
        }


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The course of a scenario: `shed` and `late` as shares of all that arrived."""

    scenario: Scenario
    told: str
    shed: float
    late: float
    buckets: tuple[Bucket, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "scenario": self.scenario.value,
            "told": self.told,
            "shed": round(self.shed, 5),
            "late": round(self.late, 5),
            "course": [bucket.as_dict() for bucket in self.buckets],
        }


def rehearse(
    problem: Problem, placement: Placement, scenario: Scenario, *, seed: int = 1
) -> Rehearsal:
    """Play one scenario over the whole placement. Same placement and seed, same course."""
    day = _Day(problem, placement, scenario, seed)
    return day.play()


class _Replica:
    """A server with a queue: the times at which its servers become free, in seconds."""

    def __init__(self, queue: Queue, stretch: float, ready_at: float) -> None:
        self.free = [ready_at] * queue.servers
        self.ready_at = ready_at
        self.gone_until = 0.0
        self.stretch = stretch

    def up(self, now: float) -> bool:
        return now >= self.ready_at and now >= self.gone_until


@dataclass
class _PoolState:
    pool: Pool
    queue: Queue
    sigma: float
    scale: float  # real replicas for each simulated one
    replicas: list[_Replica]
    limit: int | None
    seen: float = 0.0
    lost: bool = False

    @property
    def real(self) -> float:
        return len(self.replicas) * self.scale


class _Day:
    def __init__(
        self, problem: Problem, placement: Placement, scenario: Scenario, seed: int
    ) -> None:
        self.problem, self.placement, self.scenario = problem, placement, scenario
        self.chance = random.Random(seed)  # noqa: S311 - a simulation, repeatable on purpose
        self.pools = {pool: self._state(pool, count) for pool, count in placement.replicas}
        self.routes = {
            demand.name: [
                (flow.pool, flow.share, flow.rtt_ms)
                for flow in placement.flows
                if flow.demand.name == demand.name
            ]
            for demand in problem.demands
        }
        self.options: dict[str, list[Option]] = {}
        for option in problem.options:
            if option.pool in self.pools:
                self.options.setdefault(option.demand.name, []).append(option)
        self.ramp = max((demand.surge.ramp_s for demand in problem.demands), default=300.0)
        whole = CALM_S + self.ramp + HOLD_S
        self.pace = self._pace(whole)
        self.length = whole * self.pace
        self.buckets = [Bucket(whole * number / BUCKETS) for number in range(BUCKETS)]
        self.lost = self._busiest() if scenario is Scenario.LOST_SITE else None

    def _state(self, pool: Pool, count: int) -> _PoolState:
        queue = Queue.of(pool.service)
        mean = sum(queue.service_ms) / len(queue.service_ms)
        stretch = max(1.0, queue.servers / (queue.per_ms * mean))
        total = count + dict(self.placement.spares).get(pool.key, 0)
        if pool.offer.scaling is Scaling.ELASTIC:
            # What runs before the surge: the peak with its head-room, not what it may grow to.
            total = max(1, total)
        simulated = max(1, min(SIMULATED, total))
        sigma = log(max(pool.service.p99_ms / pool.service.p50_ms, 1.0)) / _Z99
        replicas = [_Replica(queue, stretch, 0.0) for _ in range(simulated)]
        return _PoolState(pool, queue, sigma, total / simulated, replicas, pool.offer.limit)

    def _pace(self, whole: float) -> float:
        """Seconds played for each second of the scenario, so that any day is played in seconds."""
        simulated = 0.0
        for flow in self.placement.flows:
            factor = flow.demand.surge.factor if self.scenario is Scenario.SPIKE else 1.0
            rate = flow.demand.peak * flow.share * factor
            simulated += rate / self.pools[flow.pool].scale * whole
        return min(1.0, MOST_REQUESTS / simulated)

    def _busiest(self) -> Region:
        load: dict[Region, float] = {}
        for flow in self.placement.flows:
            region = flow.pool.site.region
            load[region] = load.get(region, 0.0) + flow.demand.peak * flow.share
        return max(sorted(load), key=lambda region: load[region])

    def play(self) -> Rehearsal:
        simpy = _simpy()
        environment = simpy.Environment()
        for demand in self.problem.demands:
            for pool, share, rtt in self.routes[demand.name]:
                environment.process(self._arrivals(environment, demand, pool, share, rtt))
        for state in self.pools.values():
            if state.pool.offer.scaling is Scaling.ELASTIC:
                environment.process(self._autoscaler(environment, state))
            if self.scenario is Scenario.ROLL_OUT:
                environment.process(self._roll_out(environment, state))
        if self.lost is not None:
            environment.process(self._loss(environment, self.lost))
        environment.process(self._watch(environment))
        environment.run(until=self.length)
        arrived = sum(bucket.arrived for bucket in self.buckets) or 1.0
        return Rehearsal(
            self.scenario,
            self._told(),
            sum(bucket.shed for bucket in self.buckets) / arrived,
            sum(bucket.late for bucket in self.buckets) / arrived,
            tuple(self.buckets),
        )

    def _told(self) -> str:
        faster = "" if self.pace == 1 else f"; played {1 / self.pace:.1f} times faster"
        return self._course() + faster

    def _course(self) -> str:
        match self.scenario:
            case Scenario.SPIKE:
                factor = max(demand.surge.factor for demand in self.problem.demands)
                return f"every demand rises to {factor:g} times its peak at once"
            case Scenario.LOST_SITE:
                return (
                    f"{self.lost} is gone after {CALM_S:g} s; its users are sent to other lawful "
                    f"sites of the placement {DETECTED_S:g} s later"
                )
            case Scenario.ROLL_OUT:
                return f"at peak load one replica after the other is gone for {ROLLED_S:g} s"

    def _factor(self, demand: Demand, now: float) -> float:
        since = now / self.pace - CALM_S
        if self.scenario is not Scenario.SPIKE or since < 0:
            return 1.0
        ramp = demand.surge.ramp_s
        risen = min(1.0, since / ramp) if ramp else 1.0
        return 1 + (demand.surge.factor - 1) * risen

    def _arrivals(
        self, environment: Any, demand: Demand, pool: Pool, share: float, rtt: float
    ) -> Iterator[Any]:
        """Poisson by thinning: drawn at the highest rate, kept with the probability of now."""
        state = self.pools[pool]
        highest = demand.surge.factor if self.scenario is Scenario.SPIKE else 1.0
        each = state.scale
        top = demand.peak * share * highest / each
        while True:
            yield environment.timeout(self.chance.expovariate(top))
            now = environment.now
            if self.chance.random() * highest < self._factor(demand, now):
                self._request(demand, pool, rtt, each, now)

    def _request(self, demand: Demand, pool: Pool, rtt: float, each: float, now: float) -> None:
        bucket = self.buckets[min(BUCKETS - 1, int(now / self.length * BUCKETS))]
        bucket.arrived += each
        state = self.pools[pool]
        if state.lost:
            rerouted = self._reroute(demand, now)
            if rerouted is None:
                bucket.shed += each
                return
            state, rtt = rerouted
        state.seen += each
        up = [replica for replica in state.replicas if replica.up(now)]
        if not up:
            bucket.shed += each
            return
        replica = self.chance.choice(up)
        first = min(range(len(replica.free)), key=replica.free.__getitem__)
        service = state.pool.service.p50_ms * exp(state.sigma * self.chance.gauss(0.0, 1.0))
        service *= replica.stretch / 1000
        start = max(now, replica.free[first])
        limit = demand.limit_ms / 1000 - rtt / 1000
        if start + service - now > limit and start > now:
            bucket.shed += each
            return
        replica.free[first] = start + service
        reply = (start + service - now) * 1000 + rtt
        bucket.replies_ms.append(reply)
        if reply > demand.limit_ms:
            bucket.late += each

    def _reroute(self, demand: Demand, now: float) -> tuple[_PoolState, float] | None:
        """Another lawful pool of the placement, once the loss is known."""
        if now < (CALM_S + DETECTED_S) * self.pace:
            return None
        others = [
            option
            for option in self.options.get(demand.name, [])
            if not self.pools[option.pool].lost
        ]
        if not others:
            return None
        option = min(others, key=lambda one: (one.rtt_ms, one.pool.key))
        return self.pools[option.pool], option.rtt_ms

    def _autoscaler(self, environment: Any, state: _PoolState) -> Iterator[Any]:
        while True:
            state.seen = 0.0
            yield environment.timeout(SCALED_EVERY_S * self.pace)
            seen = state.seen / (SCALED_EVERY_S * self.pace)
            wanted = ceil(seen / state.pool.per_second / state.scale)
            most = ceil((state.limit or 1_000_000) / state.scale)
            for _ in range(min(wanted, most) - len(state.replicas)):
                ready = environment.now + state.pool.offer.cold_start_s * self.pace
                stretch = state.replicas[0].stretch
                state.replicas.append(_Replica(state.queue, stretch, ready))

    def _roll_out(self, environment: Any, state: _PoolState) -> Iterator[Any]:
        yield environment.timeout(CALM_S * self.pace)
        # One real replica at a time: a simulated one stands for several of them.
        step = ROLLED_S * state.scale * self.pace
        for replica in list(state.replicas):
            replica.gone_until = environment.now + min(step, self.length)
            yield environment.timeout(step)

    def _loss(self, environment: Any, region: Region) -> Iterator[Any]:
        yield environment.timeout(CALM_S * self.pace)
        for state in self.pools.values():
            if state.pool.site.region == region:
                state.lost = True

    def _watch(self, environment: Any) -> Iterator[Any]:
        for bucket in self.buckets:
            now = environment.now
            bucket.replicas = sum(
                sum(replica.ready_at <= now for replica in state.replicas) * state.scale
                for state in self.pools.values()
                if not state.lost
            )
            yield environment.timeout(self.length / BUCKETS)


def rehearse_all(problem: Problem, placement: Placement) -> tuple[Rehearsal, ...]:
    """Every scenario, in the order of `Scenario`."""
    return tuple(rehearse(problem, placement, scenario) for scenario in Scenario)


def courses(rehearsals: Sequence[Rehearsal]) -> list[Mapping[str, Any]]:
    """The rehearsals as plain JSON values."""
    return [rehearsal.as_dict() for rehearsal in rehearsals]


def _simpy() -> Any:
    try:
        import simpy
    except ImportError as error:
        raise InputError(
            "the simulation library is not installed",
            expected="the Python package simpy",
            next_step="pip install 'packager[plan]'",
        ) from error
    return simpy
