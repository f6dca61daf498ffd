"""The solver against brute force, and what a placement must always keep."""

from __future__ import annotations

import pytest
from placements import (
    SERVICE,
    a_demand,
    a_problem,
    a_site,
    an_offer,
    by_force,
    random_problem,
)

from packager.domain.placement import HOURS_A_MONTH, Point, Scaling, Surge, Weights
from packager.place.solving import solve


@pytest.mark.parametrize("block", range(10))
def test_agrees_with_brute_force(block: int) -> None:
    infeasible = 0
    for seed in range(block * 50, block * 50 + 50):
        problem = random_problem(seed)
        least = by_force(problem)
        found = solve(problem, gap=0.0)
        if least is None:
            infeasible += 1
            assert found is None, f"seed {seed}: brute force finds no placement"
        else:
            assert found is not None, f"seed {seed}: brute force finds one for {least}"
            assert found.cost == pytest.approx(least), f"seed {seed}"
    assert infeasible, "the block tries no case without a solution"


def test_every_demand_is_served_and_no_pool_is_overrun() -> None:
    demands = [a_demand("de-personal", hourly=(170.0,)), a_demand("fr-personal", hourly=(95.0,))]
    problem = a_problem(demands, [a_site(), a_site("aws/eu-west-3", "FR")], spare=1)
    found = solve(problem)
    assert found is not None
    for demand in demands:
        shares = [flow.share for flow in found.flows if flow.demand == demand]
        assert sum(shares) == pytest.approx(1)
    for pool, count in found.replicas:
        load = sum(f.share * f.demand.peak for f in found.flows if f.pool == pool)
        assert load <= pool.per_second * count + 1e-6
    assert dict(found.spares) == {pool.key: 1 for pool, _ in found.replicas}
    paid = sum(count for _, count in found.replicas) + len(found.spares)
    assert found.cost == pytest.approx(paid * HOURS_A_MONTH)


def test_a_static_pool_carries_the_whole_surge_and_an_elastic_one_its_head_room() -> None:
    surge = Surge(factor=10, ramp_s=600, hours_a_month=0)
    demand = a_demand(hourly=(80.0,), surge=surge)
    static = solve(a_problem([demand], [a_site()]))
    elastic = solve(a_problem([demand], [a_site(offers=(an_offer(scaling=Scaling.ELASTIC),))]))
    assert static is not None
    assert elastic is not None
    assert dict(static.replicas).popitem()[1] == 9  # 800 a second, 90 each
    # 60 s of cold start in a ramp of 600 s: 1.9 times the peak must stand ready.
    assert dict(elastic.replicas).popitem()[1] == 2
    assert elastic.cost == pytest.approx(80 * 1.9 / 90 * HOURS_A_MONTH)


def test_several_sites_where_asked() -> None:
    sites = [a_site(), a_site("aws/eu-west-3", "FR", offers=(an_offer(price=5.0),))]
    found = solve(a_problem([a_demand(sites_at_least=2)], sites))
    assert found is not None
    assert {str(flow.pool.site.region) for flow in found.flows} == {
        "aws/eu-central-1",
        "aws/eu-west-3",
    }
    assert min(flow.share for flow in found.flows) >= 0.1 - 1e-9


def test_a_limit_counts_the_surge_and_the_spares() -> None:
    surge = Surge(factor=4, ramp_s=600)
    demand = a_demand(hourly=(85.0,), surge=surge)
    offer = an_offer(scaling=Scaling.ELASTIC, limit=4)
    assert solve(a_problem([demand], [a_site(offers=(offer,))])) is not None
    assert solve(a_problem([demand], [a_site(offers=(offer,))], spare=1)) is None


def test_carbon_and_distance_move_it() -> None:
    dirty = a_site("aws/eu-central-1", "DE", carbon=700.0)
    clean = a_site("aws/eu-north-1", "SE", carbon=20.0, at=Point(59.3, 18.1))
    clean_dear = a_site(
        "aws/eu-north-1", "SE", carbon=20.0, at=Point(59.3, 18.1), offers=(an_offer(price=1.1),)
    )

    def region(objective: Weights, *sites: object) -> str:
        found = solve(a_problem([a_demand()], list(sites), objective=objective))  # type: ignore[arg-type]
        assert found is not None
        return found.flows[0].pool.site.region.name

    assert region(Weights(), dirty, clean_dear) == "eu-central-1"
    assert region(Weights(1.0, 10_000.0, 0.0), dirty, clean_dear) == "eu-north-1"
    assert region(Weights(0.0, 0.0, 1.0), dirty, clean) == "eu-central-1"


def test_the_order_of_demands_and_sites_does_not_matter() -> None:
    demands = [a_demand("de-personal"), a_demand("fr-personal", hourly=(70.0,))]
    sites = [a_site(), a_site("aws/eu-west-3", "FR", offers=(an_offer(price=0.7),))]
    assert solve(a_problem(demands, sites)) == solve(a_problem(demands[::-1], sites[::-1]))


def test_a_hardware_without_a_service_record_is_no_option() -> None:
    site = a_site(offers=(an_offer("nvidia-l4"),))
    assert solve(a_problem([a_demand()], [site], services={"x86-64-v3": SERVICE})) is None
