"""What-if: other prices, a site lost, other law, and what each country's residency costs.

Every answer is the problem solved anew with one thing changed, never a derivative of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from packager.domain.placement import Demand, Placement, Site, Weights
from packager.domain.target import Region
from packager.place.answering import bills
from packager.place.options import Problem
from packager.place.solution import sites_of
from packager.place.solving import solve

Rebuild = Callable[..., Problem]
"""The problem anew, with `sites=`, `lawful=` or `objective=` of the caller."""
_MOST = 8


@dataclass(frozen=True, slots=True)
class Change:
    """What one change does: the new cost (None: no placement any more) and which demands move."""

    what: str
    cost: float | None
    moved: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        cost = None if self.cost is None else round(self.cost, 2)
        return {"what": self.what, "cost": cost, "moved": list(self.moved)}


def sensitivity(
    problem: Problem,
    placement: Placement,
    sites: Sequence[Site],
    rebuild: Rebuild,
    seconds: float,
) -> tuple[Change, ...]:
    """Prices of each used provider ± 20 %, each used site lost, and all law at its strictest."""
    changes = []
    used = sites_of(placement)
    providers = sorted({site.region.provider for site in used})
    for provider in providers[:_MOST]:
        for factor, word in ((1.2, "+20 %"), (0.8, "-20 %")):
            dearer = tuple(_priced(site, provider, factor) for site in sites)
            changes.append(
                _change(f"prices of {provider} {word}", rebuild(sites=dearer), placement, seconds)
            )
    for site in used[:_MOST]:
        rest = tuple(other for other in sites if other.region != site.region)
        changes.append(_change(f"{site.region} is lost", rebuild(sites=rest), placement, seconds))
    strict = _at_home_only(problem)
    changes.append(_change("every country keeps its data at home", strict, placement, seconds))
    return tuple(changes)


def _priced(site: Site, provider: str, factor: float) -> Site:
    if site.region.provider != provider:
        return site
    offers = tuple(replace(offer, price=offer.price * factor) for offer in site.offers)
    return replace(site, offers=offers)


def _at_home_only(problem: Problem) -> Problem:
    return replace(
        problem,
        options=tuple(o for o in problem.options if o.pool.site.country == o.demand.country),
    )


def _change(what: str, problem: Problem, before: Placement, seconds: float) -> Change:
    after = solve(problem, seconds=seconds)
    if after is None:
        return Change(what, None, ())
    return Change(what, after.cost, moved(before, after))


def moved(before: Placement, after: Placement) -> tuple[str, ...]:
    """The demands that another set of sites serves now."""
    old, new = _served(before), _served(after)
    return tuple(sorted(name for name in old if old[name] != new.get(name)))


def _served(placement: Placement) -> dict[str, frozenset[Region]]:
    found: dict[str, set[Region]] = {}
    for flow in placement.flows:
        found.setdefault(flow.demand.name, set()).add(flow.pool.site.region)
    return {name: frozenset(regions) for name, regions in found.items()}


def price_of_residency(
    problem: Problem, placement: Placement, rebuild: Rebuild, seconds: float
) -> dict[str, float]:
    """For each country, what its law adds to its bill a month: with the law, less without any.

    Figures can be negative: where law moves somebody in, the others share a pool with it.
    """
    free = rebuild(lawful=_anything_goes)
    without = solve(free, seconds=seconds)
    if without is None:
        return {}
    costs: dict[str, float] = {}
    for bill in bills(problem, placement):
        costs[bill.demand] = bill.cost
    for bill in bills(free, without):
        costs[bill.demand] = costs.get(bill.demand, 0.0) - bill.cost
    countries = {demand.name: demand.country for demand in problem.demands}
    found: dict[str, float] = {}
    for name, money in costs.items():
        country = countries[name]
        found[country] = found.get(country, 0.0) + money
    return {country: round(money, 2) for country, money in sorted(found.items())}


def _anything_goes(_demand: Demand, _site: Site, _hardware: str) -> tuple[str, ...]:
    return ()


def pareto(
    rebuild: Rebuild, seconds: float, weights: Mapping[str, Weights] | None = None
) -> tuple[dict[str, Any], ...]:
    """Placements for several objectives, those that another one beats in everything left out."""
    rows: list[dict[str, Any]] = []
    for name, objective in (weights or _WEIGHTS).items():
        found = solve(rebuild(objective=objective), seconds=seconds)
        if found is not None:
            rows.append(
                {
                    "objective": name,
                    "cost": round(found.cost, 2),
                    "mean_rtt_ms": round(found.latency_ms, 2),
                    "carbon_kg": None if found.carbon_kg is None else round(found.carbon_kg, 2),
                }
            )
    return tuple(row for row in rows if not any(_beats(other, row) for other in rows))


_WEIGHTS = {
    "cost": Weights(),
    "cost, 100 a tonne of CO2e": Weights(1.0, 100.0, 0.0),
    "carbon": Weights(1e-6, 1000.0, 0.0),
    "cost, 0.10 a million requests and ms": Weights(1.0, 0.0, 0.1),
    "latency": Weights(1e-6, 0.0, 10.0),
}


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    keys = [key for key in ("cost", "mean_rtt_ms", "carbon_kg") if other[key] is not None]
    if any(one[key] is None for key in keys):
        return False
    return all(one[key] <= other[key] for key in keys) and any(
        one[key] < other[key] for key in keys
    )
