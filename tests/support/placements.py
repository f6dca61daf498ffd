"""Small placement problems, and a solver of them that shares nothing with ours.

`by_force` looks at every vector of replica counts. Whether a vector can carry the demands is Hall's
condition: each set of demands fits into the pools that any of them may use. That is exact for
demands whose load is the same at every pool, which is how `random_problem` makes them.
"""

from __future__ import annotations

import random
from itertools import product
from math import ceil

import numpy as np

from packager.domain.placement import (
    HOURS_A_MONTH,
    Demand,
    Offer,
    Point,
    Pool,
    Scaling,
    Service,
    Site,
    Surge,
)
from packager.domain.target import DataClass, DeploymentPlatform, Region
from packager.place.latency import Latencies
from packager.place.options import Option, Problem, build_problem

SERVICE = Service("x86-64-v3", 2.0, 3.0, 100.0, "measured on a test's word")


def a_demand(name: str = "de-personal", **changes: object) -> Demand:
    values: dict[str, object] = {
        "name": name,
        "country": name[:2].upper(),
        "jurisdiction": name[:2],
        "data": DataClass.PERSONAL,
        "hourly": (50.0,),
        "percentile": 0.95,
        "limit_ms": 200.0,
        "surge": Surge(),
        "sites_at_least": 1,
        "at": Point(50.0, 9.0),
        "where": "demand.yaml:1",
        **changes,
    }
    return Demand(**values)  # type: ignore[arg-type]


def an_offer(hardware: str = "x86-64-v3", price: float = 1.0, **changes: object) -> Offer:
    values: dict[str, object] = {
        "hardware": hardware,
        "price": price,
        "told": "as given",
        "limit": None,
        "scaling": Scaling.STATIC,
        "cold_start_s": 60.0,
        "power_w": 100.0,
        "platform": DeploymentPlatform.KUBERNETES,
        **changes,
    }
    return Offer(**values)  # type: ignore[arg-type]


def a_site(region: str = "aws/eu-central-1", country: str = "DE", **changes: object) -> Site:
    values: dict[str, object] = {
        "region": Region.parse(region),
        "country": country,
        "at": Point(50.1, 8.7),
        "carbon": 381.0,
        "pue": 1.3,
        "certifications": (),
        "offers": (an_offer(),),
        "where": "sites.yaml:1",
        **changes,
    }
    return Site(**values)  # type: ignore[arg-type]


def everything_is_lawful(_demand: Demand, _site: Site, _hardware: str) -> tuple[str, ...]:
    return ()


def a_problem(demands: list[Demand], sites: list[Site], **changes: object) -> Problem:
    """With one service and no law, unless `changes` say otherwise."""
    lawful = changes.pop("lawful", everything_is_lawful)
    services = changes.pop("services", {"x86-64-v3": SERVICE})
    return build_problem(demands, sites, services, lawful, Latencies(), **changes)  # type: ignore[arg-type]


def random_problem(seed: int) -> Problem:
    """At most 6 demands and 10 static pools of equal speed; some have no solution."""
    chance = random.Random(seed)
    demands = [
        a_demand(f"d{number}-personal", hourly=(float(chance.randint(5, 150)),))
        for number in range(chance.randint(1, 6))
    ]
    count = chance.randint(1, 10)
    most = 4 if count <= 5 else 2 if count <= 7 else 1
    pools = [
        Pool(
            a_site(f"aws/region-{number}"),
            an_offer(price=float(chance.randint(1, 20)), limit=chance.randint(1, most)),
            SERVICE,
            0.9,
        )
        for number in range(count)
    ]
    options = tuple(
        Option(demand, pool, 10.0, demand.peak, demand.peak, demand.mean)
        for demand in demands
        for pool in pools
        if chance.random() < 0.6
    )
    budget = chance.choice([None, None, None, 40.0 * HOURS_A_MONTH])
    from packager.domain.placement import Weights

    return Problem(tuple(demands), options, (), 0, budget, Weights())


def by_force(problem: Problem) -> float | None:
    """The least cost a month, None when there is no placement; static pools without spares."""
    pools = list({option.pool: None for option in problem.options})
    if not pools:
        return None
    may = np.zeros((len(problem.demands), len(pools)), bool)
    for option in problem.options:
        number = [d.name for d in problem.demands].index(option.demand.name)
        may[number, pools.index(option.pool)] = True
    needs = np.array([demand.peak for demand in problem.demands])
    each = np.array([pool.per_second for pool in pools])
    sets = np.array(list(product([False, True], repeat=len(needs)))[1:])
    reach = (sets.astype(int) @ may.astype(int)) > 0
    load = sets.astype(float) @ needs
    top = [min(pool.offer.limit or 0, ceil(needs.sum() / pool.per_second)) for pool in pools]
    counts = np.array(list(product(*(range(most + 1) for most in top))))
    # What the surge needs must fit the limit too; without surge both are the same rows.
    fits = (counts * each) @ reach.T.astype(float) >= load - 1e-9
    prices = np.array([pool.offer.price for pool in pools]) * HOURS_A_MONTH
    cost = counts @ prices
    good = fits.all(axis=1)
    if problem.budget is not None:
        good &= cost <= problem.budget + 1e-6
    return float(cost[good].min()) if good.any() else None
