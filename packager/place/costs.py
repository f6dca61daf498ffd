"""What running replicas cost a month: money, grams, and the objective that mixes them."""

from __future__ import annotations

from packager.domain.placement import HOURS_A_MONTH, Pool, Scaling
from packager.place.options import Option, Problem


def elastic_cost(option: Option) -> float:
    """Money a month for all of a demand's mean load at an elastic pool; 0 at a static one."""
    if option.pool.offer.scaling is Scaling.STATIC:
        return 0.0
    return option.mean / option.pool.per_second * option.pool.offer.price * HOURS_A_MONTH


def carbon_kg(pool: Pool, replicas: float) -> float:
    """Kilograms of CO2e a month of so many running replicas, at full draw; 0 where unknown."""
    site, watts = pool.site, pool.offer.power_w
    if site.carbon is None or watts is None:
        return 0.0
    return watts / 1000 * HOURS_A_MONTH * site.pue * site.carbon / 1000 * replicas


def replica_cost(pool: Pool, problem: Problem) -> float:
    """The objective's value of one replica that always runs."""
    weights = problem.objective
    money = pool.offer.price * HOURS_A_MONTH
    return weights.cost * money + weights.carbon_per_tonne * carbon_kg(pool, 1.0) / 1000


def flow_cost(option: Option, problem: Problem) -> float:
    """The objective's value of all of a demand's requests at a pool, static replicas aside."""
    weights = problem.objective
    requests = option.mean * HOURS_A_MONTH * 3600 / 1e6
    total = weights.latency_per_million_ms * requests * option.rtt_ms
    if option.pool.offer.scaling is Scaling.ELASTIC:
        running = option.mean / option.pool.per_second
        carbon = carbon_kg(option.pool, running) / 1000
        total += weights.cost * elastic_cost(option) + weights.carbon_per_tonne * carbon
    return total
