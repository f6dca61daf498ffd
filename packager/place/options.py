"""Which pools could serve which demand: lawful, near enough, and with what head-room.

For each demand, site and hardware there is at most one option: replicas run to the highest
utilization that keeps the demand's limit after the network took its part. What is refused keeps its
reason, since an answer without it would be no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from packager.domain.placement import (
    HOURS_A_MONTH,
    Demand,
    Offer,
    Pool,
    Scaling,
    Service,
    Site,
    Weights,
)
from packager.place.capacity import headroom, highest_utilization, reply_ms
from packager.place.latency import Latencies

Lawful = Callable[[Demand, Site, str], tuple[str, ...]]
"""(demand, site, hardware id) → the reasons of refusal; empty when the law allows it."""

LEAST_UTILIZATION = 0.1


@dataclass(frozen=True, slots=True)
class Option:
    """A demand that a pool may serve. `load` is the rate in requests a second that the pool must
    carry for all of the demand at any time (peak with head-room), `surge` the one at the worst
    moment, `mean` over the month."""

    demand: Demand
    pool: Pool
    rtt_ms: float
    load: float
    surge: float
    mean: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A site that may not, or cannot in time, serve a demand; `needs_ms` is the limit at which it
    could, None when time is not the reason."""

    demand: Demand
    site: Site
    reasons: tuple[str, ...]
    needs_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that the solver needs. `spare` replicas are kept at each used offer."""

    demands: tuple[Demand, ...]
    options: tuple[Option, ...]
    refusals: tuple[Refusal, ...]
    spare: int
    budget: float | None
    objective: Weights


def build_problem(
    demands: Sequence[Demand],
    sites: Sequence[Site],
    services: Mapping[str, Service],
    lawful: Lawful,
    latencies: Latencies,
    *,
    spare: int = 0,
    budget: float | None = None,
    objective: Weights | None = None,
) -> Problem:
    """All options, in an order that follows from names alone, and all refusals with reasons."""
    options: list[Option] = []
    refusals: list[Refusal] = []
    weights = objective or Weights()
    offers = {site.region: undominated(site.offers, services) for site in sites}
    for demand in sorted(demands, key=lambda one: one.name):
        for site in sorted(sites, key=lambda one: one.region):
            found, refusal = _of_site(
                demand, site, offers[site.region], services, lawful, latencies
            )
            if weights.carbon_per_tonne and (unknown := _unknown_carbon(site)):
                found, refusal = [], refusal or Refusal(demand, site, (unknown,))
            options += found
            if not found and refusal is not None:
                refusals.append(refusal)
    return Problem(
        tuple(sorted(demands, key=lambda one: one.name)),
        tuple(options),
        tuple(refusals),
        spare,
        budget,
        weights,
    )


def _unknown_carbon(site: Site) -> str | None:
    """Why a site cannot be weighed by carbon: what nobody knows must not count as nothing."""
    if site.carbon is None:
        return f"the carbon intensity of the grid in {site.country} is not known"
    unknown = [offer.hardware for offer in site.offers if offer.power_w is None]
    return f"the power of {', '.join(unknown)} is not known" if unknown else None


def _of_site(
    demand: Demand,
    site: Site,
    offers: Sequence[Offer],
    services: Mapping[str, Service],
    lawful: Lawful,
    latencies: Latencies,
) -> tuple[list[Option], Refusal | None]:
    options: list[Option] = []
    refused: dict[str, None] = {}
    needs: list[float] = []
    rtt = latencies.rtt_ms(demand, site)
    for offer in offers:
        if reasons := lawful(demand, site, offer.hardware):
            refused.update(dict.fromkeys(reasons))
            continue
        service = services[offer.hardware]
        left = demand.limit_ms - rtt
        utilization = highest_utilization(service, demand.percentile, left) if left > 0 else None
        if utilization is None:
            needs.append(rtt + reply_ms(service, LEAST_UTILIZATION, demand.percentile))
            continue
        ready = headroom(
            demand.surge.factor,
            demand.surge.ramp_s,
            offer.cold_start_s,
            elastic=offer.scaling is Scaling.ELASTIC,
        )
        options.append(
            Option(
                demand=demand,
                pool=Pool(site, offer, service, utilization),
                rtt_ms=rtt,
                load=demand.peak * ready,
                surge=demand.peak * demand.surge.factor,
                mean=_mean_with_surge(demand, ready),
            )
        )
    if needs:  # the law allows it: only time stands against it
        return options, Refusal(demand, site, (f"{min(needs):.0f} ms at best",), min(needs))
    return options, Refusal(demand, site, tuple(refused)) if refused else None


def _mean_with_surge(demand: Demand, ready: float) -> float:
    """The mean rate that elastic capacity is paid for: the load with its head-room, and surges."""
    hours = min(demand.surge.hours_a_month, HOURS_A_MONTH)
    calm = demand.mean * ready * (HOURS_A_MONTH - hours)
    return (calm + demand.peak * demand.surge.factor * hours) / HOURS_A_MONTH


def undominated(offers: Sequence[Offer], services: Mapping[str, Service]) -> tuple[Offer, ...]:
    """The offers that some optimum could use, by hardware id; exact, since what is left out is no
    cheaper, no faster, no less power-hungry, scales no better, and is not needed for its limit."""
    usable = [offer for offer in offers if offer.hardware in services]
    return tuple(
        sorted(
            (
                offer
                for number, offer in enumerate(usable)
                if not any(
                    _dominates(other, offer, services)
                    and not (_dominates(offer, other, services) and number < position)
                    for position, other in enumerate(usable)
                    if position != number
                )
            ),
            key=lambda offer: offer.hardware,
        )
    )


def _dominates(one: Offer, other: Offer, services: Mapping[str, Service]) -> bool:
    """Whether `one` can stand in for `other` in every placement, at no greater cost of any kind."""
    if one.limit is not None or one.scaling is not other.scaling:
        return False
    here, there = services[one.hardware], services[other.hardware]
    power = (one.power_w, other.power_w)
    return (
        one.price <= other.price
        and one.cold_start_s <= other.cold_start_s
        and here.per_second >= there.per_second
        and here.p50_ms <= there.p50_ms
        and here.p99_ms / here.p50_ms <= there.p99_ms / there.p50_ms
        and None not in power
        and (one.power_w or 0) <= (other.power_w or 0)
        and one.platform is other.platform
    )
