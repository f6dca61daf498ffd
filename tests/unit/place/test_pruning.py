"""What is left out before solving changes no optimum, and is what nobody needs."""

from __future__ import annotations

import random

import pytest
from placements import a_demand, a_problem, a_site, an_offer

from packager.domain.placement import Point, Scaling, Surge, Weights
from packager.place import solving
from packager.place.options import Problem
from packager.place.pruning import pruned
from packager.place.solving import solve


def twins(seed: int) -> Problem:
    """Countries with several sites of much the same offers, some of them the same."""
    chance = random.Random(seed)
    demands = [
        a_demand(
            f"d{number}-x",
            hourly=(float(chance.randint(5, 200)),),
            limit_ms=chance.choice([40.0, 90.0, 200.0]),
            at=Point(50.0 + chance.random(), 8.0 + chance.random()),
            surge=Surge(factor=chance.choice([1.0, 4.0])),
            sites_at_least=chance.choice([1, 1, 1, 2]),
        )
        for number in range(chance.randint(1, 4))
    ]
    sites = [
        a_site(
            f"aws/{country.lower()}-{number}",
            country,
            at=Point(latitude + chance.choice([0.0, 0.0, 0.4]), 8.5),
            offers=(
                an_offer(
                    price=chance.choice([1.0, 1.0, 1.2]),
                    limit=chance.choice([None, None, 3]),
                    scaling=chance.choice([Scaling.STATIC, Scaling.STATIC, Scaling.ELASTIC]),
                ),
            ),
        )
        for country, latitude in (("DE", 50.2), ("FR", 48.8))
        for number in range(chance.randint(2, 4))
    ]
    return a_problem(demands, sites, spare=chance.randint(0, 1), objective=Weights(1.0, 0.0, 1e-6))


def test_the_optimum_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = 0
    for seed in range(120):
        problem = twins(seed)
        fewer, off = pruned(problem)
        left_out += len(problem.options) - len(fewer.options)
        found = solve(problem, gap=0.0)
        with monkeypatch.context() as patch:
            patch.setattr(solving, "pruned", lambda whole: (whole, 0.0))
            whole = solve(problem, gap=0.0)
        assert (found is None) == (whole is None), f"seed {seed}"
        if found is not None and whole is not None:
            assert found.cost == pytest.approx(whole.cost, abs=off + 1e-6), f"seed {seed}"
            assert found.gap >= whole.gap
    assert left_out > 100


def test_a_site_that_somebody_needs_stays() -> None:
    cheap, dear = (
        a_site(offers=(an_offer(limit=2),)),
        a_site("aws/eu-central-9", offers=(an_offer(price=1.5),)),
    )
    assert pruned(a_problem([a_demand()], [cheap, dear]))[1] == 0.0
    assert pruned(a_problem([a_demand(sites_at_least=2)], [a_site(), dear]))[1] == 0.0
    fewer, off = pruned(a_problem([a_demand()], [a_site(), dear]))
    assert {str(option.pool.site.region) for option in fewer.options} == {"aws/eu-central-1"}
    assert off > 0
