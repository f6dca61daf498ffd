"""From the values of the programme's columns to a placement with its figures worked out anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packager.domain.placement import HOURS_A_MONTH, Flow, Placement, Pool, Scaling, Site
from packager.domain.target import Region
from packager.place.capacity import replicas_for
from packager.place.costs import carbon_kg
from packager.place.options import Problem

_TINY = 1e-7


def placement_of(problem: Problem, shares: Sequence[float], gap: float) -> Placement:
    """The placement in which each option of the problem serves its share; `gap` as reached."""
    flows = tuple(
        Flow(option.demand, option.pool, float(share), option.rtt_ms)
        for option, share in zip(problem.options, shares, strict=True)
        if share > _TINY
    )
    used = {flow.pool for flow in flows}
    load = dict.fromkeys(used, 0.0)
    options = {(option.demand.name, option.pool): option for option in problem.options}
    for flow in flows:
        load[flow.pool] += options[flow.demand.name, flow.pool].load * flow.share
    # As few as carry the load; the solver has no reason to count elastic ones down.
    replicas = {pool: replicas_for(load[pool], pool.per_second) for pool in used}
    keys = {pool.key for pool in used}
    spares = {key: problem.spare for key in keys if problem.spare}
    return describe(problem, flows, replicas, spares, gap)


def describe(
    problem: Problem,
    flows: tuple[Flow, ...],
    replicas: Mapping[Pool, int],
    spares: Mapping[tuple[Region, str], int],
    gap: float,
) -> Placement:
    """The placement with its figures worked out anew from the flows, not taken from the solver."""
    options = {(option.demand.name, option.pool): option for option in problem.options}
    running: dict[Pool, float] = {
        pool: float(count)
        for pool, count in replicas.items()
        if pool.offer.scaling is Scaling.STATIC
    }
    for flow in flows:
        if flow.pool.offer.scaling is Scaling.ELASTIC:
            mean = options[flow.demand.name, flow.pool].mean * flow.share / flow.pool.per_second
            running[flow.pool] = running.get(flow.pool, 0.0) + mean
    for pool in _one_a_key(replicas):
        running[pool] = running.get(pool, 0.0) + spares.get(pool.key, 0)
    cost = sum(pool.offer.price * HOURS_A_MONTH * count for pool, count in running.items())
    known = all(pool.site.carbon is not None and pool.offer.power_w is not None for pool in running)
    carbon = sum(carbon_kg(pool, count) for pool, count in running.items())
    total = sum(flow.demand.mean * flow.share for flow in flows)
    latency = sum(flow.rtt_ms * flow.demand.mean * flow.share for flow in flows) / total
    return Placement(
        flows=flows,
        replicas=tuple(sorted(replicas.items(), key=lambda item: _order(item[0]))),
        spares=tuple(sorted(spares.items())),
        cost=cost,
        carbon_kg=carbon if known else None,
        latency_ms=latency,
        gap=gap,
    )


def _one_a_key(replicas: Mapping[Pool, int]) -> list[Pool]:
    """One pool of each offer in use, to hang its spares on."""
    first: dict[tuple[Region, str], Pool] = {}
    for pool in sorted(replicas, key=_order):
        first.setdefault(pool.key, pool)
    return list(first.values())


def _order(pool: Pool) -> tuple[Region, str, float]:
    return (*pool.key, pool.utilization)


def sites_of(placement: Placement) -> tuple[Site, ...]:
    """The sites that serve something, by region."""
    found = {flow.pool.site.region: flow.pool.site for flow in placement.flows}
    return tuple(found[region] for region in sorted(found))
