"""A bad day on the planned placement: a discrete-event simulation. The only module with SimPy.

Requests come as a Poisson process whose rate follows the scenario; each goes to a site by the
plan's shares, and there to a random replica (`replica`), which queues, batches and refuses as the
runtime does.

A pool of many replicas is simulated by at most `SIMULATED` of them with their part of the requests,
which is the same thing for traffic that is split at random. Where that is still too much, what is
slow (ramps, cold starts, detection) is played faster by one factor, and told: queues settle within
milliseconds and do not mind. Everything is drawn from a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from packager.domain.placement import Demand, Placement, Pool, Scaling
from packager.domain.target import Region
from packager.errors import InputError
from packager.place.options import Option, Problem
from packager.place.rehearsal import Bucket, Course, Rehearsal, Scenario
from packager.place.replica import Model, Replica

SIMULATED = 4
BUCKETS = 48
DETECTED_S = 30.0
SCALED_EVERY_S = 15.0
ROLLED_S = 45.0
MOST_REQUESTS = 400_000


def rehearse(
    problem: Problem,
    placement: Placement,
    scenario: Scenario,
    *,
    seed: int = 1,
    course: Course | None = None,
) -> Rehearsal:
    """Play one scenario over the whole placement. Same placement and seed, same course."""
    return _Day(problem, placement, scenario, seed, course or Course()).play()


@dataclass
class _PoolState:
    pool: Pool
    model: Model
    scale: float  # real replicas for each simulated one
    replicas: list[Replica]
    limit: int | None
    reserve: float = 0.0  # requests a second of head-room that the plan holds ready
    seen: float = 0.0
    lost: bool = False

    @property
    def real(self) -> float:
        return len(self.replicas) * self.scale


class _Day:
    def __init__(
        self,
        problem: Problem,
        placement: Placement,
        scenario: Scenario,
        seed: int,
        course: Course,
    ) -> None:
        self.problem, self.placement, self.scenario = problem, placement, scenario
        self.course = course
        self.environment = _simpy().Environment()
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
        whole = course.calm_s + self.ramp + course.hold_s
        self.pace = self._pace(whole)
        self.length = whole * self.pace
        self.buckets = [Bucket(whole * number / BUCKETS) for number in range(BUCKETS)]
        self.lost = self._busiest() if scenario is Scenario.LOST_SITE else None

    def _state(self, pool: Pool, count: int) -> _PoolState:
        model = Model.of(pool.service)
        total = max(1, count + dict(self.placement.spares).get(pool.key, 0))
        simulated = min(SIMULATED, total)
        replicas = [self._replica(model, 0.0) for _ in range(simulated)]
        reserve = sum(
            (option.load - option.demand.peak) * flow.share
            for flow in self.placement.flows
            for option in self.problem.options
            if flow.pool == pool == option.pool and flow.demand.name == option.demand.name
        )
        return _PoolState(pool, model, total / simulated, replicas, pool.offer.limit, reserve)

    def _replica(self, model: Model, ready_at: float) -> Replica:
        return Replica(self.environment, model, self.chance, ready_at)

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
        environment = self.environment
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
                    f"After {self.course.calm_s:g} s {self.lost} is gone; its users are sent to "
                    f"other lawful sites of the placement {DETECTED_S:g} s later"
                )
            case Scenario.ROLL_OUT:
                return f"at peak load one replica after the other is gone for {ROLLED_S:g} s"

    def _factor(self, demand: Demand, now: float) -> float:
        since = now / self.pace - self.course.calm_s
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
        counted = each / self.pace
        bucket.arrived += counted
        state = self.pools[pool]
        if state.lost:
            rerouted = self._reroute(demand, now)
            if rerouted is None:
                bucket.shed += counted
                return
            state, rtt = rerouted
        state.seen += each
        up = [replica for replica in state.replicas if replica.up(now)]
        if not up:
            bucket.shed += counted
            return

        def answered(taken: float | None) -> None:
            if taken is None:
                bucket.shed += counted
                return
            reply = taken * 1000 + rtt
            bucket.replies_ms.append(reply)
            if reply > demand.limit_ms:
                bucket.late += counted

        self.chance.choice(up).ask((demand.limit_ms - rtt) / 1000, answered)

    def _reroute(self, demand: Demand, now: float) -> tuple[_PoolState, float] | None:
        """Another lawful pool of the placement, once the loss is known."""
        if now < (self.course.calm_s + DETECTED_S) * self.pace:
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
            # What is ordered now serves when the ramp has gone on for a cold start: it keeps the
            # head-room, instead of using it up once.
            load = seen + state.reserve
            wanted = ceil(load / state.pool.per_second / state.scale)
            most = ceil((state.limit or 1_000_000) / state.scale)
            for _ in range(min(wanted, most) - len(state.replicas)):
                ready = environment.now + state.pool.offer.cold_start_s * self.pace
                state.replicas.append(self._replica(state.model, ready))

    def _roll_out(self, environment: Any, state: _PoolState) -> Iterator[Any]:
        yield environment.timeout(self.course.calm_s * self.pace)
        # One real replica at a time: a simulated one stands for several of them.
        step = ROLLED_S * state.scale * self.pace
        for replica in list(state.replicas):
            replica.gone_until = environment.now + min(step, self.length)
            yield environment.timeout(step)

    def _loss(self, environment: Any, region: Region) -> Iterator[Any]:
        yield environment.timeout(self.course.calm_s * self.pace)
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
            next_step="pip install '.[plan]' in packager's source",
        ) from error
    return simpy
