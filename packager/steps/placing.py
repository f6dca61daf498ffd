"""Which site may serve which demand: the policy engine's answer, as a function of three names.

A pair is decided exactly as `check` decides a target of it, so that a release made from the plan
passes. Rules on places do not look at the hardware and rules on hardware do not look at places, so
each half is decided once and kept: sixty countries times hundreds of regions stay cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from packager.catalogue import Catalogue
from packager.comply.deciding import decide
from packager.domain.decision import Decision, Status
from packager.domain.jurisdiction import Demand as LegalDemand
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.model import Objective, QualityBudget
from packager.domain.placement import Demand, Site
from packager.domain.release import Declarations, PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, DeploymentPlatform, TargetName

# What a place, its host and its hardware can violate; licences and registries are the release's.
PLACES = frozenset(
    {
        LegalDemand.INFERENCE_WITHIN,
        LegalDemand.TRANSFER,
        LegalDemand.DATA_AT_REST_WITHIN,
        LegalDemand.LOGS_WITHIN,
        LegalDemand.KEYS_WITHIN,
        LegalDemand.HOSTING_CERTIFICATION,
    }
)
HARDWARE = frozenset({LegalDemand.ACCELERATOR_EXPORT})
_PLATFORM = DeploymentPlatform.KUBERNETES


@dataclass
class Lawfulness:
    """Call it with a demand, a site and a hardware id: the reasons of refusal, empty when lawful.

    `rooms` are the user's own rooms and their countries; `base` is the release that will be placed,
    where there is one, for what it declares.
    """

    catalogue: Catalogue
    rooms: Mapping[str, str]
    base: ReleaseRequest | None = None
    _places: dict[tuple[object, ...], tuple[str, ...]] = field(default_factory=dict)
    _hardware: dict[tuple[str, DataClass, str], tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, demand: Demand, site: Site, hardware: str) -> tuple[str, ...]:
        """Reasons in words, each with its control."""
        return self._of_place(demand, site, hardware) + self._of_hardware(demand, site, hardware)

    def _of_place(self, demand: Demand, site: Site, hardware: str) -> tuple[str, ...]:
        known = self.catalogue.country_of(site.region)
        key = (
            demand.jurisdiction,
            demand.data,
            site.country,
            known is None and site.region.name not in self.rooms,
            self.catalogue.home_of(site.region),
            site.certifications,
        )
        if key not in self._places:
            self._places[key] = self._refusals(demand, site, hardware, PLACES, "target/places")
        return self._places[key]

    def _of_hardware(self, demand: Demand, site: Site, hardware: str) -> tuple[str, ...]:
        key = (demand.jurisdiction, demand.data, hardware)
        if key not in self._hardware:
            self._hardware[key] = self._refusals(demand, site, hardware, HARDWARE, "hardware/")
        return self._hardware[key]

    def _refusals(
        self,
        demand: Demand,
        site: Site,
        hardware: str,
        demands: frozenset[LegalDemand],
        prefix: str,
    ) -> tuple[str, ...]:
        jurisdiction = self.catalogue.jurisdiction(demand.jurisdiction)
        asked = {
            f"{jurisdiction.owner[rule.id]}/{rule.id}"
            for rule in jurisdiction.rules
            if rule.demand in demands
        }
        made = self._decide(jurisdiction, demand, site, hardware)
        return tuple(
            _reason(decision)
            for decision in made
            if decision.status is Status.VIOLATED
            and (decision.control in asked or decision.control.startswith(prefix))
        )

    def _decide(
        self, jurisdiction: Jurisdiction, demand: Demand, site: Site, hardware: str
    ) -> tuple[Decision, ...]:
        name = TargetName(jurisdiction.id, hardware, _PLATFORM)
        target = PlannedTarget(
            name=name,
            jurisdiction=jurisdiction,
            hardware=self.catalogue.hardware(hardware),
            regions=(site.region,),
            registry=None,
            reference="localhost/plan:0",
            where=demand.where,
        )
        return decide(
            target,
            self._request(demand, site),
            self.catalogue.country_of,
            home_of=self.catalogue.home_of,
        )

    def _request(self, demand: Demand, site: Site) -> ReleaseRequest:
        declared = self.base.declared if self.base else Declarations()
        certificates = site.certifications or declared.hosting_certifications
        return ReleaseRequest(
            name="plan",
            version="0",
            model_path=Path("plan.onnx"),
            model_license=self.base.model_license if self.base else None,
            samples=None,
            quality=QualityBudget(),
            objective=Objective.COST,
            data_class=demand.data,
            targets=(),
            registries={},
            sites=dict(self.rooms),
            registry_countries={},
            signing_keys=(),
            where=demand.where,
            declared=replace(declared, hosting_certifications=certificates),
        )


def jurisdiction_of(catalogue: Catalogue, country: str) -> str | None:
    """The profile of a country: the one of its own name, else the narrowest that contains it."""
    if country.lower() in catalogue.jurisdiction_ids():
        return country.lower()
    containing = [
        (len(profile.countries), profile.id)
        for name in catalogue.jurisdiction_ids()
        if country in (profile := catalogue.jurisdiction(name)).countries
    ]
    return min(containing)[1] if containing else None


def _reason(decision: Decision) -> str:
    law = decision.law
    named = f" ({law.name}, {law.article})" if law else ""
    return f"{decision.control}: {decision.why}{named}"
