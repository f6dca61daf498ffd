"""What a rule is decided on: the target, the request, and where its regions lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from packager.domain.decision import Status
from packager.domain.jurisdiction import Demand
from packager.domain.names import instance_name
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DeploymentPlatform, Region

SITE = "site"
Countries = Callable[[Region], str | None]
Distances = Callable[[Region, Region], float | None]


@dataclass(frozen=True, slots=True)
class Place:
    """A region of the target; `country` is None when nobody knows it."""

    region: Region
    country: str | None
    declared: bool

    def __str__(self) -> str:
        return f"{self.region} ({self.country or 'country unknown'})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demand came out; the parts of a `Decision` that a decider finds."""

    status: Status
    why: str
    by: tuple[str, ...] = ()
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """A target with its places. `nearest` orders regions of the jurisdiction by distance."""

    target: PlannedTarget
    request: ReleaseRequest
    places: tuple[Place, ...]
    country_of: Countries
    distance_km: Distances
    home_of: Countries

    @property
    def folder(self) -> str:
        """Where the target's manifests stand, relative to the release folder."""
        return f"targets/{self.target.name}"

    @property
    def on_kubernetes(self) -> bool:
        return self.target.name.platform.on_kubernetes

    @property
    def workload(self) -> str:
        """The manifest that starts the server."""
        return self._file("deployment.yaml")

    @property
    def image_record(self) -> str:
        """What is told of the image: its layers, and what its server is set to."""
        return f"evidence/images/{self.target.name.slug}.json"

    @property
    def network(self) -> str:
        """The manifest that says whom the server may talk to."""
        return self._file("networkpolicy.yaml")

    def _file(self, on_kubernetes: str) -> str:
        """Compose and Quadlet say everything about the server in one file."""
        name = self.target.name
        match name.platform:
            case DeploymentPlatform.KUBERNETES:
                return f"{self.folder}/base/{on_kubernetes}"
            case DeploymentPlatform.HELM:
                return f"{self.folder}/templates/{on_kubernetes}"
            case DeploymentPlatform.COMPOSE:
                return f"{self.folder}/compose.yaml"
            case DeploymentPlatform.QUADLET:
                unit = instance_name(self.request.name, name.jurisdiction, name.hardware)
                return f"{self.folder}/{unit}.container"

    def countries(self, demand: Demand) -> set[str]:
        """The known countries that a demand on places looks at, the log's sink included."""
        regions = [place.region for place in self.places]
        sink = self.request.declared.log_region
        if demand is Demand.LOGS_WITHIN and sink is not None:
            regions.append(sink)
        return {country for region in regions if (country := self.place(region).country)}

    def place(self, region: Region) -> Place:
        """Where a region lies: by the catalogue, or as declared for a room of the user's own."""
        return _place(region, self.request, self.country_of)

    def nearest_regions(self, countries: Iterable[str], count: int = 3) -> list[str]:
        """Known regions of the jurisdiction inside `countries`, the nearest to ours first."""
        allowed = set(countries)
        ordered = _by_distance(
            self.target.jurisdiction.regions,
            tuple(place.region for place in self.places),
            self.country_of,
            self.distance_km,
        )
        return [str(region) for region, country in ordered if country in allowed][:count]


@lru_cache(maxsize=256)
def _by_distance(
    regions: frozenset[Region],
    ours: tuple[Region, ...],
    country_of: Countries,
    distance_km: Distances,
) -> tuple[tuple[Region, str | None], ...]:
    """Regions with their country, the nearest to one of ours first.

    Kept, because every refusing rule of a target asks for it again. Distances are rounded, so that
    ties are ties everywhere.
    """

    def distance(region: Region) -> float:
        found = [distance_km(one, region) for one in ours]
        return min((round(one) for one in found if one is not None), default=float("inf"))

    ordered = sorted(regions, key=lambda region: (distance(region), str(region)))
    return tuple((region, country_of(region)) for region in ordered)


def situate(
    target: PlannedTarget,
    request: ReleaseRequest,
    country_of: Countries,
    distance_km: Distances,
    home_of: Countries,
) -> Situation:
    """The target with the country of each of its regions: by the catalogue, or as declared."""

    return Situation(
        target=target,
        request=request,
        places=tuple(_place(region, request, country_of) for region in sorted(set(target.regions))),
        country_of=country_of,
        distance_km=distance_km,
        home_of=home_of,
    )


def _place(region: Region, request: ReleaseRequest, country_of: Countries) -> Place:
    if region.provider == SITE:
        country = request.sites.get(region.name)
        return Place(region, country, declared=country is not None)
    return Place(region, country_of(region), declared=False)
