"""The placement as a mixed-integer programme, written down for any solver.

Variables: for each option the share `x` of its demand; for each pool the whole replicas `n`; for
each offer the whole spares `s` and whether it is used, `z`; for each demand that asks for several
sites, whether it uses a site, `u`. Minimized is the objective in money a month. Subject to

  every demand is served                     Σ x = 1
  a pool carries its load                    Σ load·x ≤ per_second·n          (load: with head-room)
  spares where something runs                x ≤ z
  what can be had                            Σ surge·x ÷ per_second + spare·z ≤ limit,
                                             Σ n + spare·z ≤ limit
  the budget                                 Σ cost ≤ budget
  enough sites                               0.1·u ≤ Σ x ≤ u,  Σ u ≥ sites_at_least

A static pool is paid for every replica all the time. An elastic one is paid for its mean load, at
its utilization, and for its spares; `n` then only holds its head-room within the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf

from packager.domain.placement import HOURS_A_MONTH, Pool, Scaling
from packager.domain.target import Region
from packager.place.costs import elastic_cost, flow_cost, replica_cost
from packager.place.options import Option, Problem

LEAST_SHARE = 0.1


@dataclass
class Programme:
    """Columns and rows as HiGHS takes them."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[float, float, dict[int, float]]] = field(default_factory=list)

    def column(self, cost: float, upper: float = inf, *, whole: bool = False) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, low: float, high: float, terms: Mapping[int, float]) -> None:
        self.rows.append((low, high, dict(terms)))


@dataclass
class Columns:
    """Which column belongs to what."""

    share: list[int] = field(default_factory=list)
    replicas: dict[Pool, int] = field(default_factory=dict)
    used: dict[tuple[Region, str], int] = field(default_factory=dict)


def formulate(problem: Problem) -> tuple[Programme, Columns]:
    """The programme of a problem in which every demand has an option."""
    programme, columns = Programme(), Columns()
    by_pool: dict[Pool, list[Option]] = {}
    for option in problem.options:
        by_pool.setdefault(option.pool, []).append(option)
        columns.share.append(programme.column(flow_cost(option, problem), 1.0))
    index = {id(option): columns.share[number] for number, option in enumerate(problem.options)}
    by_offer: dict[tuple[Region, str], list[Pool]] = {}
    for pool, options in by_pool.items():
        most = ceil(sum(option.load for option in options) / pool.per_second)
        paid = replica_cost(pool, problem) if pool.offer.scaling is Scaling.STATIC else 0.0
        columns.replicas[pool] = programme.column(paid, most, whole=True)
        by_offer.setdefault(pool.key, []).append(pool)
        terms = {index[id(option)]: option.load for option in options}
        programme.row(-inf, 0.0, {**terms, columns.replicas[pool]: -pool.per_second})
    for key, pools in by_offer.items():
        _offer_rows(problem, programme, columns, key, pools, by_pool, index)
    _demand_rows(problem, programme, columns)
    if problem.budget is not None:
        _budget_row(problem, programme, columns, problem.budget)
    return programme, columns


def _offer_rows(
    problem: Problem,
    programme: Programme,
    columns: Columns,
    key: tuple[Region, str],
    pools: Sequence[Pool],
    by_pool: Mapping[Pool, Sequence[Option]],
    index: Mapping[int, int],
) -> None:
    replicas = {columns.replicas[pool]: 1.0 for pool in pools}
    shares = [index[id(option)] for pool in pools for option in by_pool[pool]]
    spare: dict[int, float] = {}
    if problem.spare:
        # Spares cost what a replica costs, of whichever scaling: they always run. One row a share
        # bounds far better than one row with a large factor would.
        used = programme.column(problem.spare * replica_cost(pools[0], problem), 1.0, whole=True)
        columns.used[key] = used
        for share in shares:
            programme.row(-inf, 0.0, {share: 1.0, used: -1.0})
        spare = {used: float(problem.spare)}
    limit = pools[0].offer.limit
    if limit is None:
        return
    surge = {
        index[id(option)]: option.surge / pool.per_second
        for pool in pools
        for option in by_pool[pool]
    }
    programme.row(-inf, float(limit), {**surge, **spare})
    programme.row(-inf, float(limit), {**replicas, **spare})


def _demand_rows(problem: Problem, programme: Programme, columns: Columns) -> None:
    by_demand: dict[str, list[int]] = {}
    for number, option in enumerate(problem.options):
        by_demand.setdefault(option.demand.name, []).append(number)
    for demand in problem.demands:
        numbers = by_demand[demand.name]
        programme.row(1.0, 1.0, {columns.share[number]: 1.0 for number in numbers})
        if demand.sites_at_least < 2:
            continue
        by_site: dict[Region, list[int]] = {}
        for number in numbers:
            by_site.setdefault(problem.options[number].pool.site.region, []).append(number)
        uses = []
        for at_site in by_site.values():
            use = programme.column(0.0, 1.0, whole=True)
            uses.append(use)
            shares = {columns.share[number]: 1.0 for number in at_site}
            programme.row(-inf, 0.0, {**shares, use: -1.0})
            programme.row(0.0, inf, {**shares, use: -LEAST_SHARE})
        programme.row(float(demand.sites_at_least), inf, dict.fromkeys(uses, 1.0))


def _budget_row(problem: Problem, programme: Programme, columns: Columns, budget: float) -> None:
    money: dict[int, float] = {}
    for number, option in enumerate(problem.options):
        money[columns.share[number]] = elastic_cost(option)
    for pool, column in columns.replicas.items():
        if pool.offer.scaling is Scaling.STATIC:
            money[column] = pool.offer.price * HOURS_A_MONTH
    prices = {pool.key: pool.offer.price for pool in columns.replicas}
    for key, column in columns.used.items():
        money[column] = problem.spare * prices[key] * HOURS_A_MONTH
    programme.row(-inf, budget, money)
