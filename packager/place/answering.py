"""The answer as a document: who serves whom, what it costs and why, and what was refused.

Everything that people look at (table, HTML, routing, release file) is made from this document or
from the placement behind it, so that none of them can say something else. Money is a month's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packager.domain.placement import HOURS_A_MONTH, Demand, Flow, Placement, Point, Pool, Scaling
from packager.place.capacity import reply_ms
from packager.place.checked import checked, in_words
from packager.place.costs import carbon_kg
from packager.place.latency import Latencies
from packager.place.options import Option, Problem

SCHEMA = {"apiVersion": "packager/v1", "kind": "Placement"}
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
DRIVERS = ("mean load", "peak above the mean", "surge head-room", "whole replicas", "spares")


@dataclass(frozen=True, slots=True)
class Bill:
    """What a demand costs a month, by driver; the sum is its share of the placement's cost."""

    demand: str
    drivers: tuple[tuple[str, float], ...]
    requests: float

    @property
    def cost(self) -> float:
        return sum(money for _, money in self.drivers)

    @property
    def per_million(self) -> float:
        return self.cost / self.requests * 1e6


def bills(problem: Problem, placement: Placement) -> tuple[Bill, ...]:
    """Every pool's cost, shared by load among the demands that it serves."""
    options = {(option.demand.name, option.pool): option for option in problem.options}
    money: dict[str, dict[str, float]] = {
        demand.name: dict.fromkeys(DRIVERS, 0.0) for demand in problem.demands
    }
    replicas = dict(placement.replicas)
    spares = dict(placement.spares)
    key_load: dict[object, float] = {}
    for flow in placement.flows:
        key_load[flow.pool.key] = key_load.get(flow.pool.key, 0.0) + _load(flow, options)
    for pool in replicas:
        flows = [flow for flow in placement.flows if flow.pool == pool]
        total = sum(_load(flow, options) for flow in flows)
        for flow in flows:
            parts = money[flow.demand.name]
            replica = pool.offer.price * HOURS_A_MONTH
            for driver, running in _parts(flow, options, replicas[pool], total):
                parts[driver] += running * replica
            share = _load(flow, options) / key_load[pool.key]
            parts["spares"] += spares.get(pool.key, 0) * share * replica
    return tuple(
        Bill(demand.name, tuple(money[demand.name].items()), demand.mean * SECONDS_A_MONTH)
        for demand in problem.demands
    )


def _load(flow: Flow, options: Mapping[tuple[str, Pool], Option]) -> float:
    return options[flow.demand.name, flow.pool].load * flow.share


def _parts(
    flow: Flow, options: Mapping[tuple[str, Pool], Option], replicas: int, total: float
) -> list[tuple[str, float]]:
    """Running replicas of one flow by driver; their sum is what the pool is paid for it."""
    option, per_second = options[flow.demand.name, flow.pool], flow.pool.per_second
    mean = flow.demand.mean * flow.share / per_second
    if flow.pool.offer.scaling is Scaling.ELASTIC:
        return [
            ("mean load", mean),
            ("surge head-room", option.mean * flow.share / per_second - mean),
        ]
    peak = flow.demand.peak * flow.share / per_second
    load = option.load * flow.share / per_second
    whole = replicas * _load(flow, options) / total
    return [
        ("mean load", mean),
        ("peak above the mean", peak - mean),
        ("surge head-room", load - peak),
        ("whole replicas", whole - load),
    ]


def placement_record(
    problem: Problem, placement: Placement, latencies: Latencies, currency: str
) -> dict[str, Any]:
    """The whole answer as plain JSON values, rounded, in an order that follows from names."""
    billed = {bill.demand: bill for bill in bills(problem, placement)}
    return {
        **SCHEMA,
        "currency": currency,
        "cost": _round(placement.cost),
        "carbon_kg": None if placement.carbon_kg is None else _round(placement.carbon_kg),
        "mean_rtt_ms": _round(placement.latency_ms),
        "gap": round(placement.gap, 6),
        "spare": problem.spare,
        "budget": problem.budget,
        "objective": {
            "cost": problem.objective.cost,
            "carbon_per_tonne": problem.objective.carbon_per_tonne,
            "latency_per_million_ms": problem.objective.latency_per_million_ms,
        },
        "demands": [
            _demand(demand, placement.flows, billed[demand.name], problem, latencies)
            for demand in problem.demands
        ],
        "pools": [_pool(pool, count, placement) for pool, count in placement.replicas],
        "drivers": {
            driver: _round(sum(dict(bill.drivers)[driver] for bill in billed.values()))
            for driver in DRIVERS
        },
        "points": {
            **{demand.name: _point(demand.at) for demand in problem.demands},
            **{str(pool.site.region): _point(pool.site.at) for pool, _ in placement.replicas},
        },
        "capacity_checked": checked(),
        "figures": "replies and round trips are estimated by the models of packager.place unless "
        "told otherwise; prices as told for each pool; " + in_words(checked()),
    }


def _demand(
    demand: Demand, flows: Sequence[Flow], bill: Bill, problem: Problem, latencies: Latencies
) -> dict[str, Any]:
    refused = [refusal for refusal in problem.refusals if refusal.demand.name == demand.name]
    return {
        "name": demand.name,
        "country": demand.country,
        "jurisdiction": demand.jurisdiction,
        "data": demand.data.value,
        "peak_per_second": _round(demand.peak),
        "mean_per_second": _round(demand.mean),
        "limit_ms": demand.limit_ms,
        "percentile": demand.percentile,
        "surge_factor": demand.surge.factor,
        "cost": _round(bill.cost),
        "cost_per_million": _round(bill.per_million),
        "drivers": {driver: _round(money) for driver, money in bill.drivers},
        "served_by": [
            {
                "site": str(flow.pool.site.region),
                "country": flow.pool.site.country,
                "hardware": flow.pool.offer.hardware,
                "share": round(flow.share, 6),
                "rtt_ms": _round(flow.rtt_ms),
                "rtt_told": latencies.told(demand, flow.pool.site),
                "reply_ms": _round(
                    flow.rtt_ms
                    + reply_ms(flow.pool.service, flow.pool.utilization, demand.percentile)
                ),
            }
            for flow in sorted(
                (flow for flow in flows if flow.demand.name == demand.name),
                key=lambda flow: (-round(flow.share, 6), flow.pool.key),
            )
        ],
        "refused": [
            {"site": str(refusal.site.region), "reasons": list(refusal.reasons)}
            for refusal in refused
        ],
    }


def _pool(pool: Pool, count: int, placement: Placement) -> dict[str, Any]:
    load = sum(flow.demand.peak * flow.share for flow in placement.flows if flow.pool == pool)
    return {
        "site": str(pool.site.region),
        "country": pool.site.country,
        "hardware": pool.offer.hardware,
        "platform": pool.offer.platform.value,
        "replicas": count,
        "spares": dict(placement.spares).get(pool.key, 0),
        "utilization": pool.utilization,
        "peak_per_second": _round(load),
        "per_second_each": _round(pool.per_second),
        "scaling": pool.offer.scaling.value,
        "price_per_hour": _round(pool.offer.price),
        "price_told": pool.offer.told,
        "service_told": pool.service.told,
        "carbon_kg_each": _round(carbon_kg(pool, 1.0)) or None,
    }


def _point(at: Point) -> dict[str, float]:
    return {"latitude": at.latitude, "longitude": at.longitude}


def _round(value: float) -> float:
    """Four significant decimals; a placement is no more exact than its inputs."""
    return round(value, 4)
