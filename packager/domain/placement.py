"""Placement: who asks for inference from where, what stands where, and who serves whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packager.domain.target import DataClass, DeploymentPlatform, Region

HOURS_A_MONTH = 730.0


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the earth, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Surge:
    """The day that comes rarely: `factor` times the peak, reached within `ramp_s` seconds, for
    `hours_a_month` hours."""

    factor: float = 1.0
    ramp_s: float = 300.0
    hours_a_month: float = 0.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests of the people of one country, of one class of data.

    `hourly` is the rate in requests a second for each hour of the day, growth included; a reply
    must reach `percentile` of the users within `limit_ms`, network included. `jurisdiction` is the
    profile whose law is asked.
    """

    name: str
    country: str
    jurisdiction: str
    data: DataClass
    hourly: tuple[float, ...]
    percentile: float
    limit_ms: float
    surge: Surge
    sites_at_least: int
    at: Point
    where: str

    @property
    def peak(self) -> float:
        """Requests a second in the busiest hour."""
        return max(self.hourly)

    @property
    def mean(self) -> float:
        """Requests a second over the day."""
        return sum(self.hourly) / len(self.hourly)


class Scaling(StrEnum):
    """`static`: what is there runs all the time. `elastic`: replicas come and go with the load."""

    STATIC = "static"
    ELASTIC = "elastic"


@dataclass(frozen=True, slots=True)
class Offer:
    """Hardware that can be had at a site.

    `price` an hour and replica, in the currency of the file; `limit` replicas at most, None for
    as many as wanted; `told` says where the price comes from (`as given`, or `estimated …`);
    `power_w` is None where nobody knows it.
    """

    hardware: str
    price: float
    told: str
    limit: int | None
    scaling: Scaling
    cold_start_s: float
    power_w: float | None
    platform: DeploymentPlatform


@dataclass(frozen=True, slots=True)
class Site:
    """A place that could serve. `carbon` in gCO2e a kWh, None where nobody knows it; `pue` is the
    power usage effectiveness of the building."""

    region: Region
    country: str
    at: Point
    carbon: float | None
    pue: float
    certifications: tuple[str, ...]
    offers: tuple[Offer, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Service:
    """How one replica on one hardware profile serves: milliseconds of the replies to one client
    that asks again at once, requests a second when saturated, and what that rests on (`measured on
    …`, `estimated for …`). `batch` is how many requests the server puts together at most, 1 for
    none; `idle_ms` the median of a request that comes after a pause, where that was measured."""

    hardware: str
    p50_ms: float
    p99_ms: float
    per_second: float
    told: str
    batch: int = 1
    idle_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """What is minimized: money a month, plus money for each tonne of CO2e, plus money for each
    million requests and millisecond of distance. Any of them may be 0."""

    cost: float = 1.0
    carbon_per_tonne: float = 0.0
    latency_per_million_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas of one offer that are run to one utilization. Index numbers into the problem."""

    site: Site
    offer: Offer
    service: Service
    utilization: float

    @property
    def per_second(self) -> float:
        """Requests a second that one replica carries within the utilization."""
        return self.utilization * self.service.per_second

    def __hash__(self) -> int:
        # The fields are values within values; three of them tell pools apart, and quickly.
        return hash((self.site.region, self.offer.hardware, self.utilization))

    @property
    def key(self) -> tuple[Region, str]:
        """Pools of one key share the offer's limit and its spare replicas."""
        return self.site.region, self.offer.hardware


@dataclass(frozen=True, slots=True)
class Flow:
    """A share (0 to 1) of a demand that a pool serves, `rtt_ms` of network away."""

    demand: Demand
    pool: Pool
    share: float
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class Placement:
    """The answer: who serves whom, with how many replicas; money and grams a month.

    `spares` are the replicas kept beyond what the load needs, by pool key; `gap` is the relative
    distance to the best bound that the solver proved.
    """

    flows: tuple[Flow, ...]
    replicas: tuple[tuple[Pool, int], ...]
    spares: tuple[tuple[tuple[Region, str], int], ...]
    cost: float
    carbon_kg: float | None
    latency_ms: float
    gap: float
