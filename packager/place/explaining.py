"""Why there is no placement, in words, and what would make one.

First each demand alone: no lawful site, or none near enough. Then all together: the smallest set of
demands that cannot be served at once is found by leaving demands out one by one (a deletion
filter), and each way out is only proposed after it was tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packager.domain.placement import Demand, Offer, Placement
from packager.errors import Finding
from packager.place.options import Option, Problem, Refusal
from packager.place.solving import solve

_SECONDS = 20.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Conflict:
    """A smallest set of demands that cannot be served together, and why."""

    demands: tuple[str, ...]
    findings: tuple[Finding, ...]


def explain(problem: Problem) -> Conflict:
    """What stands against a placement of `problem`, which has none."""
    served = {option.demand.name for option in problem.options}
    alone = [demand for demand in problem.demands if demand.name not in served]
    if alone:
        return Conflict(
            tuple(demand.name for demand in alone),
            tuple(_unserved(demand, problem) for demand in alone),
        )
    few = [demand for demand in problem.demands if _sites(demand, problem) < demand.sites_at_least]
    if few:
        return Conflict(
            tuple(demand.name for demand in few),
            tuple(_too_few(demand, problem) for demand in few),
        )
    core = _smallest(problem)
    return Conflict(tuple(demand.name for demand in core.demands), (_crowded(core),))


def _unserved(demand: Demand, problem: Problem) -> Finding:
    refusals = [refusal for refusal in problem.refusals if refusal.demand.name == demand.name]
    late = sorted(
        (refusal for refusal in refusals if refusal.needs_ms is not None),
        key=lambda refusal: (refusal.needs_ms or 0.0, refusal.site.region),
    )
    unlawful = [refusal for refusal in refusals if refusal.needs_ms is None]
    if late:
        nearest = late[0]
        return Finding(
            f"no lawful site answers {demand.name} within {demand.limit_ms:g} ms",
            where=demand.where,
            got=f"the nearest lawful one, {nearest.site.region}, needs {nearest.needs_ms:.0f} ms",
            next_step=f"accept {nearest.needs_ms:.0f} ms, add a site or faster hardware in "
            f"{demand.country}" + _allow(unlawful, demand),
        )
    if not refusals:
        return Finding(
            f"no site offers hardware that could serve {demand.name}",
            where=demand.where,
            next_step="add a site, or measurements for the hardware that the sites offer",
        )
    reasons = list(dict.fromkeys(reason for one in unlawful for reason in one.reasons))
    return Finding(
        f"no site may serve {demand.name}: all {len(unlawful)} are refused",
        where=demand.where,
        got="; ".join(reasons[:_SHOWN])
        + (f"; and {len(reasons) - _SHOWN} more reasons" if len(reasons) > _SHOWN else ""),
        next_step=f"add a site in {demand.country}, such as region: site/<name> with "
        f"country: {demand.country}",
    )


def _allow(unlawful: Sequence[Refusal], demand: Demand) -> str:
    """Which law would have to be met for a refused site; nothing when none was refused."""
    if not unlawful:
        return ""
    first = min(unlawful, key=lambda one: one.site.region)
    return f", or meet what refuses {first.site.region} for {demand.name}: {first.reasons[0]}"


def _sites(demand: Demand, problem: Problem) -> int:
    return len({o.pool.site.region for o in problem.options if o.demand.name == demand.name})


def _too_few(demand: Demand, problem: Problem) -> Finding:
    refused = [one for one in problem.refusals if one.demand.name == demand.name]
    late = [one for one in refused if one.needs_ms is not None]
    ways = [f"add a site in {demand.country}"]
    if late:
        needs = sorted(one.needs_ms or 0.0 for one in late)
        missing = demand.sites_at_least - _sites(demand, problem)
        if len(needs) >= missing:
            ways.append(f"accept {needs[missing - 1]:.0f} ms")
    ways.append(f"ask for {_sites(demand, problem)} with sites_at_least")
    return Finding(
        f"{demand.name} asks for {demand.sites_at_least} sites, and so many are not to be had",
        where=demand.where,
        got=f"{_sites(demand, problem)} lawful and near enough",
        next_step=", or ".join(ways),
    )


def _smallest(problem: Problem) -> Problem:
    """The problem with only those demands that are all needed for there to be no placement."""
    core = problem
    for demand in problem.demands:
        rest = [other for other in core.demands if other.name != demand.name]
        if rest and (tried := with_demands(core, rest)) and _solvable(tried) is None:
            core = tried
    return core


def with_demands(problem: Problem, demands: Sequence[Demand]) -> Problem:
    """The problem reduced to some of its demands."""
    names = {demand.name for demand in demands}
    return replace(
        problem,
        demands=tuple(d for d in problem.demands if d.name in names),
        options=tuple(o for o in problem.options if o.demand.name in names),
        refusals=tuple(r for r in problem.refusals if r.demand.name in names),
    )


def _crowded(core: Problem) -> Finding:
    """Each alone could be served, but not all of them: limits or the budget are too small."""
    ways = []
    if core.budget is not None and (cheapest := _solvable(replace(core, budget=None))):
        ways.append(f"allow a budget of {cheapest.cost:.0f} a month")
    roomy = replace(core, budget=core.budget, options=tuple(map(_unlimited, core.options)))
    if needed := _solvable(roomy):
        ways += _larger(core, needed)
    if not ways and (both := _solvable(replace(roomy, budget=None))):
        ways.append(f"allow {both.cost:.0f} a month, and raise limits: " + _told(both))
    names = ", ".join(demand.name for demand in core.demands)
    return Finding(
        f"not enough is to be had for {names} at once",
        where=core.demands[0].where,
        got=", ".join(_limits(core)) or None,
        next_step=", or ".join(ways) if ways else "add a site",
    )


def _larger(core: Problem, needed: Placement) -> list[str]:
    """Which limits the placement without limits goes beyond."""
    spares = dict(needed.spares)
    wants: dict[tuple[str, str], int] = {}
    for pool, count in needed.replicas:
        key = (str(pool.site.region), pool.offer.hardware)
        wants[key] = wants.get(key, spares.get(pool.key, 0)) + count
    limits = {
        (str(o.pool.site.region), o.pool.offer.hardware): o.pool.offer.limit for o in core.options
    }
    beyond = [
        f"{count} {hardware} at {region} instead of {limits[region, hardware]}"
        for (region, hardware), count in sorted(wants.items())
        if limits.get((region, hardware)) is not None and count > (limits[region, hardware] or 0)
    ]
    return [f"have {' and '.join(beyond)}"] if beyond else []


def _told(placement: Placement) -> str:
    return ", ".join(
        f"{count} {pool.offer.hardware} at {pool.site.region}" for pool, count in placement.replicas
    )


def _limits(core: Problem) -> list[str]:
    offers = {
        f"at most {o.pool.offer.limit} {o.pool.offer.hardware} at {o.pool.site.region}"
        for o in core.options
        if o.pool.offer.limit is not None
    }
    budget = [f"a budget of {core.budget:.0f} a month"] if core.budget is not None else []
    return [*sorted(offers)[:_SHOWN], *budget]


def _unlimited(option: Option) -> Option:
    offer: Offer = replace(option.pool.offer, limit=None)
    return replace(option, pool=replace(option.pool, offer=offer))


def _solvable(problem: Problem) -> Placement | None:
    return solve(problem, seconds=_SECONDS, gap=0.05)
