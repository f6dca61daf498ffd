"""Leaves out sites that no optimum needs, before the solver meets them.

Three clouds in one city at one price are one choice to a placement, and three to a solver, which
spends its time on telling them apart. A site is left out when another one in its country, without
limits, takes over each of its pools for no more money, at no lower utilization, and at no more
than a cent a month of distance; which is told in the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from packager.domain.placement import HOURS_A_MONTH, Pool
from packager.domain.target import Region
from packager.place.costs import carbon_kg
from packager.place.options import Option, Problem

A_CENT = 0.01
_Options = Mapping[tuple[str, str], Option]
"""Of one site, by demand and hardware."""


def pruned(problem: Problem) -> tuple[Problem, float]:
    """The problem without sites that another one stands in for, and the money a month by which its
    optimum can be off for it, at most."""
    sites: dict[Region, dict[tuple[str, str], Option]] = {}
    countries: dict[str, list[Region]] = {}
    for option in problem.options:
        region = option.pool.site.region
        if region not in sites:
            countries.setdefault(option.pool.site.country, []).append(region)
        here = sites.setdefault(region, {})
        here[option.demand.name, option.pool.offer.hardware] = option
    gone: set[Region] = set()
    for regions in countries.values():
        for region in sorted(regions, reverse=True):
            if any(
                other != region
                and other not in gone
                and _stands_in(sites[other], sites[region], problem)
                for other in sorted(regions)
            ):
                gone.add(region)
    if not gone:
        return problem, 0.0
    kept = tuple(option for option in problem.options if option.pool.site.region not in gone)
    return replace(problem, options=kept), A_CENT * len(gone)


def _stands_in(one: _Options, other: _Options, problem: Problem) -> bool:
    """Whether every placement can move from the site `other` to the site `one` as a whole."""
    pools: dict[Pool, Pool] = {}
    distance = 0.0
    for key, there in other.items():
        here = one.get(key)
        if here is None or there.demand.sites_at_least > 1:
            return False
        if not _no_worse(here, there, problem):
            return False
        # Who shares replicas there must share them here: two pools round up twice.
        if pools.setdefault(there.pool, here.pool) != here.pool:
            return False
        millions = there.mean * HOURS_A_MONTH * 3600 / 1e6
        farther = max(0.0, here.rtt_ms - there.rtt_ms)
        distance += problem.objective.latency_per_million_ms * millions * farther
    return distance <= A_CENT


def _no_worse(here: Option, there: Option, problem: Problem) -> bool:
    one, other = here.pool.offer, there.pool.offer
    if one.limit is not None or one.scaling is not other.scaling:
        return False
    if one.platform is not other.platform or one.price > other.price:
        return False
    carbon = problem.objective.carbon_per_tonne
    if carbon and carbon_kg(here.pool, 1.0) > carbon_kg(there.pool, 1.0):
        return False
    return (
        here.pool.per_second >= there.pool.per_second
        and here.load <= there.load
        and here.surge <= there.surge
        and here.mean <= there.mean
    )
