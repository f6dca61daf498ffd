"""The placement as a mixed-integer programme, solved by HiGHS. The only module that knows HiGHS.

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

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Any

import numpy as np

from packager.domain.placement import HOURS_A_MONTH, Flow, Placement, Pool, Scaling, Site
from packager.domain.target import Region
from packager.errors import InputError, PackagerError
from packager.place.capacity import replicas_for
from packager.place.options import Option, Problem

GAP = 0.01
LEAST_SHARE = 0.1
_TINY = 1e-7


@dataclass
class _Programme:
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


def solve(problem: Problem, *, seconds: float = 60.0, gap: float = GAP) -> Placement | None:
    """The best placement, to a relative gap; None when no placement keeps everything.

    Raises PackagerError when the time is over before any placement was found.
    """
    if {option.demand.name for option in problem.options} != {d.name for d in problem.demands}:
        return None
    programme, columns = _formulate(problem)
    values, reached = _run(programme, seconds, gap)
    return None if values is None else _placement(problem, columns, values, reached)


@dataclass
class _Columns:
    """Which column belongs to what."""

    share: list[int] = field(default_factory=list)
    replicas: dict[Pool, int] = field(default_factory=dict)
    used: dict[tuple[Region, str], int] = field(default_factory=dict)


def _formulate(problem: Problem) -> tuple[_Programme, _Columns]:
    programme, columns = _Programme(), _Columns()
    by_pool: dict[Pool, list[Option]] = {}
    for option in problem.options:
        by_pool.setdefault(option.pool, []).append(option)
        columns.share.append(programme.column(_flow_cost(option, problem), 1.0))
    index = {id(option): columns.share[number] for number, option in enumerate(problem.options)}
    by_offer: dict[tuple[Region, str], list[Pool]] = {}
    for pool, options in by_pool.items():
        most = ceil(sum(option.load for option in options) / pool.per_second)
        paid = _replica_cost(pool, problem) if pool.offer.scaling is Scaling.STATIC else 0.0
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
    programme: _Programme,
    columns: _Columns,
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
        used = programme.column(problem.spare * _replica_cost(pools[0], problem), 1.0, whole=True)
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


def _demand_rows(problem: Problem, programme: _Programme, columns: _Columns) -> None:
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


def _budget_row(problem: Problem, programme: _Programme, columns: _Columns, budget: float) -> None:
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


def _replica_cost(pool: Pool, problem: Problem) -> float:
    weights = problem.objective
    money = pool.offer.price * HOURS_A_MONTH
    return weights.cost * money + weights.carbon_per_tonne * carbon_kg(pool, 1.0) / 1000


def _flow_cost(option: Option, problem: Problem) -> float:
    weights = problem.objective
    requests = option.mean * HOURS_A_MONTH * 3600 / 1e6
    total = weights.latency_per_million_ms * requests * option.rtt_ms
    if option.pool.offer.scaling is Scaling.ELASTIC:
        running = option.mean / option.pool.per_second
        carbon = carbon_kg(option.pool, running) / 1000
        total += weights.cost * elastic_cost(option) + weights.carbon_per_tonne * carbon
    return total


def _run(
    programme: _Programme, seconds: float, gap: float
) -> tuple[np.ndarray[Any, Any] | None, float]:
    """The values of the columns, None when infeasible; the relative gap that was reached."""
    highspy = _highs()
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(programme.cost), len(programme.rows)
    model.col_cost_ = np.array(programme.cost, np.double)
    model.col_lower_ = np.zeros(model.num_col_, np.double)
    model.col_upper_ = np.array(programme.upper, np.double)
    model.row_lower_ = np.array([row[0] for row in programme.rows], np.double)
    model.row_upper_ = np.array([row[1] for row in programme.rows], np.double)
    starts = np.cumsum([0] + [len(row[2]) for row in programme.rows])
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = starts.astype(np.int32)
    model.a_matrix_.index_ = np.array([c for row in programme.rows for c in row[2]], np.int32)
    model.a_matrix_.value_ = np.array(
        [v for row in programme.rows for v in row[2].values()], np.double
    )
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    model.integrality_ = [kinds[whole] for whole in programme.whole]
    with _unheard():
        solver = highspy.Highs()
    for name, value in (
        *(
            ("output_flag", False),
            ("log_to_console", False),
            ("mip_rel_gap", gap),
            ("time_limit", float(seconds)),
        ),
        *(("random_seed", 0), ("threads", min(4, os.cpu_count() or 1))),
    ):
        solver.setOptionValue(name, value)
    solver.passModel(model)
    solver.run()
    info = solver.getInfo()
    status = solver.getModelStatus()
    if status in (
        highspy.HighsModelStatus.kInfeasible,
        highspy.HighsModelStatus.kUnboundedOrInfeasible,
    ):
        return None, 0.0
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        raise PackagerError(
            "no placement was found in time",
            where=f"after {seconds:g} s",
            got=solver.modelStatusToString(status),
            next_step="allow more time with --seconds, or name fewer sites",
        )
    reached = float(info.mip_gap) if np.isfinite(info.mip_gap) else 0.0
    return np.array(solver.getSolution().col_value), max(0.0, reached)


def _placement(
    problem: Problem, columns: _Columns, values: np.ndarray[Any, Any], gap: float
) -> Placement:
    flows = tuple(
        Flow(option.demand, option.pool, float(values[column]), option.rtt_ms)
        for option, column in zip(problem.options, columns.share, strict=True)
        if values[column] > _TINY
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


@contextmanager
def _unheard() -> Iterator[None]:
    """HiGHS greets on the standard output, which belongs to the command's result."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, and its number
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _highs() -> Any:
    try:
        import highspy
    except ImportError as error:
        raise InputError(
            "the solver is not installed",
            expected="the Python package highspy (HiGHS)",
            next_step="pip install 'packager[plan]'",
        ) from error
    return highspy
