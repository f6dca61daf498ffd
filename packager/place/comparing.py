"""The same demand under another law: what moves, and what it costs each country."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packager.domain.placement import Placement
from packager.place.answering import bills
from packager.place.explaining import explain
from packager.place.options import Problem
from packager.place.solving import solve


def under_other_law(
    what: str, problem: Problem, placement: Placement, other: Problem, seconds: float
) -> dict[str, Any]:
    """The placement of `other`, the same demands under another law, beside that of `problem`.

    Money is a month's. `cost` is None, and `refused` says why, when the other law leaves no
    placement; otherwise each demand comes with its bill then and now, and its sites where they
    differ.
    """
    after = solve(other, seconds=seconds)
    if after is None:
        told = [finding.as_dict() for finding in explain(other).findings]
        return {"what": what, "cost": None, "difference": None, "demands": [], "refused": told}
    now, then = _bills(problem, placement), _bills(other, after)
    old, new = _sites(placement), _sites(after)
    return {
        "what": what,
        "cost": round(after.cost, 2),
        "difference": round(after.cost - placement.cost, 2),
        "refused": [],
        "demands": [
            {
                "name": demand.name,
                "country": demand.country,
                "cost_before": round(now[demand.name], 2),
                "cost_after": round(then[demand.name], 2),
                "moves_from": sorted(old[demand.name] - new[demand.name]),
                "moves_to": sorted(new[demand.name] - old[demand.name]),
            }
            for demand in problem.demands
        ],
    }


def _bills(problem: Problem, placement: Placement) -> Mapping[str, float]:
    return {bill.demand: bill.cost for bill in bills(problem, placement)}


def _sites(placement: Placement) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for flow in placement.flows:
        found.setdefault(flow.demand.name, set()).add(str(flow.pool.site.region))
    return {name: frozenset(sites) for name, sites in found.items()}
