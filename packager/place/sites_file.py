"""Reads `sites.yaml`: places that could serve, what stands there, and what it costs."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from packager.catalogue import Catalogue
from packager.catalogue.places import SITE
from packager.document import read_document
from packager.domain.hardware import HardwareProfile
from packager.domain.placement import Offer, Point, Scaling, Site
from packager.domain.target import DeploymentPlatform, Region
from packager.errors import Finding, InputError
from packager.place.geography import Geography, point_of
from packager.place.prices import read_budget, read_currency, read_price
from packager.section import Section, nearest

API_VERSION = "packager/v1"
_NOWHERE = Region("site", "unknown")
_NO_POINT = Point(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Sites:
    """All sites, with what holds for all of them: `spare` replicas a pool, `budget` a month, and
    measured round trips in milliseconds by country and region."""

    sites: tuple[Site, ...]
    currency: str
    spare: int
    budget: float | None
    measured: Mapping[tuple[str, Region], float]

    @property
    def rooms(self) -> dict[str, str]:
        """The user's own rooms and the countries that they stand in, as `sites:` of a release."""
        return {
            site.region.name: site.country for site in self.sites if site.region.provider == SITE
        }


def read_sites(file: Path, catalogue: Catalogue, geography: Geography) -> Sites:
    """Every site of the file. Raises InputError with all findings, each with its line."""
    root = read_document(file)
    for key, expected in (("apiVersion", API_VERSION), ("kind", "Sites")):
        if root.text(key) != expected and key in root:
            root.note(key, f"wrong {key}", expected=expected)
    reader = _Reader(root, catalogue, geography)
    sites = reader.public() | reader.listed()
    if not sites and "sites" not in root and "regions" not in root:
        root.note(
            "",
            "no place to serve from",
            expected="sites: or regions:",
            next_step="write regions: {providers: [aws], hardware: [{profile: x86-64-v3}]}",
        )
    spare = root.whole("spare", 1)
    if not 0 <= spare <= 10:
        root.note(
            "spare",
            "out of range",
            expected="0 to 10",
            got=str(spare),
            next_step="1 is N+1 at every place",
        )
    budget = read_budget(root, reader.currency)
    latencies = root.optional_text("latencies")
    root.finish()
    return Sites(
        tuple(sites[region] for region in sorted(sites)),
        reader.currency,
        spare,
        budget,
        _measured(file.parent / latencies) if latencies else {},
    )


class _Reader:
    """Reads the entries of one file; `like:` takes the hardware of another entry."""

    def __init__(self, root: Section, catalogue: Catalogue, geography: Geography) -> None:
        self._root = root
        self._catalogue = catalogue
        self._geography = geography
        self.currency = read_currency(root)
        self._pue = root.number("pue", 1.3)
        if not 1 <= self._pue <= 3:
            root.note(
                "pue",
                "out of range",
                expected="1 to 3",
                got=f"{self._pue:g}",
                next_step="1.2 to 1.6 are usual",
            )

    def listed(self) -> dict[Region, Site]:
        """The entries of `sites:`."""
        entries: dict[Region, Section] = {}
        for entry in self._root.sections("sites"):
            region = self._region(entry)
            if region in entries:
                entry.note(
                    "region",
                    f"the site {region} is given twice",
                    next_step="put their hardware together",
                )
            entries.setdefault(region, entry)
        return {region: self._site(region, entry, entries) for region, entry in entries.items()}

    def public(self) -> dict[Region, Site]:
        """Every region of the providers that `regions:` names, but those listed by themselves."""
        section = self._root.section("regions")
        providers = section.texts("providers")
        known = {region.provider for region in self._catalogue.places}
        for provider in providers:
            if provider not in known:
                section.note(
                    "providers",
                    f"unknown provider {provider!r}",
                    next_step=nearest(provider, known),
                )
        certifications = section.texts("certifications")
        countries = section.texts("countries")
        offers = self._offers(section, self._pue) if "regions" in self._root else ()
        return {
            region: Site(
                region,
                place.country,
                Point(place.latitude, place.longitude),
                self._geography.carbon.get(place.country),
                self._pue,
                certifications,
                offers,
                section.where(),
            )
            for region, place in self._catalogue.places.items()
            if region.provider in providers
            and place.confirmed
            and (not countries or place.country in countries)
        }

    def _region(self, entry: Section) -> Region:
        return entry.parsed(
            "region", Region.parse, "provider/region, or site/<name> for a room of yours", _NOWHERE
        )

    def _site(self, region: Region, entry: Section, entries: Mapping[Region, Section]) -> Site:
        country, at = self._place(region, entry)
        pue = entry.number("pue", self._pue)
        carbon = entry.optional_number("carbon_g_per_kwh")
        if carbon is not None and not 0 <= carbon < 5000:
            entry.note("carbon_g_per_kwh", "out of range", expected="0 to 5000", got=f"{carbon:g}")
        source = self._followed(region, entry, entries)
        return Site(
            region=region,
            country=country,
            at=at,
            carbon=self._geography.carbon.get(country) if carbon is None else carbon,
            pue=pue,
            certifications=entry.texts("certifications"),
            offers=self._offers(source, pue) if source else (),
            where=entry.where(),
        )

    def _place(self, region: Region, entry: Section) -> tuple[str, Point]:
        known = self._catalogue.places.get(region)
        if known and known.confirmed:
            for key in ("country", "at"):
                if key in entry:
                    entry.note(
                        key,
                        f"the catalogue knows where {region} lies: {known.country}",
                        next_step=f"leave {key} out",
                    )
            return known.country, Point(known.latitude, known.longitude)
        if region.provider != SITE and region != _NOWHERE:
            entry.note(
                "region",
                f"unknown region {region}",
                next_step=nearest(str(region), {str(one) for one in self._catalogue.places}),
            )
        country = entry.text("country")
        if "at" in entry:
            return country, point_of(entry, "at") or _NO_POINT
        return country, self._middle(entry, country)

    def _middle(self, entry: Section, country: str) -> Point:
        point = self._geography.points.get(country)
        if point is None and "country" in entry:
            entry.note("at", "where the site is must be told", expected="[latitude, longitude]")
        return point or _NO_POINT

    def _followed(
        self, region: Region, entry: Section, entries: Mapping[Region, Section]
    ) -> Section | None:
        """The entry whose hardware counts, through any number of `like:`."""
        seen = [region]
        while "like" in entry:
            other = entry.parsed("like", Region.parse, "provider/region of another site", _NOWHERE)
            if "hardware" in entry:
                entry.sections("hardware")
                entry.note(
                    "like",
                    "either `like` or `hardware`, not both",
                    next_step="leave one of them out",
                )
                return None
            if other in seen:
                circle = " → ".join(map(str, [*seen, other]))
                entry.note(
                    "like",
                    "the sites refer to each other in a circle",
                    got=circle,
                    next_step="give one of them its own hardware:",
                )
                return None
            if other not in entries:
                entry.note(
                    "like",
                    f"there is no site {other} in this file",
                    next_step=nearest(str(other), [str(one) for one in entries]),
                )
                return None
            seen.append(other)
            entry = entries[other]
        return entry

    def _offers(self, entry: Section, pue: float) -> tuple[Offer, ...]:
        offers: dict[str, Offer] = {}
        for item in entry.sections("hardware", required=True):
            profile = self._profile(item)
            vcpus = item.whole("vcpus", 4)
            price = read_price(item, self.currency, profile, vcpus, pue)
            scaling = item.choice("scaling", Scaling, Scaling.STATIC)
            cold = item.number("cold_start_s", 180.0)
            limit = item.whole("limit", -1)
            for key, value, least in (("cold_start_s", cold, 0), ("limit", limit, 0)):
                if key in item and value < least:
                    item.note(
                        key,
                        "out of range",
                        expected="at least 0",
                        got=f"{value:g}",
                        next_step=f"leave {key} out, or correct it",
                    )
            platform = item.choice("platform", DeploymentPlatform, DeploymentPlatform.KUBERNETES)
            if profile is None or price is None:
                continue
            if profile.id in offers:
                item.note(
                    "profile",
                    f"{profile.id} is offered twice here",
                    next_step="keep the cheaper one",
                )
            offers[profile.id] = Offer(
                hardware=profile.id,
                price=price.an_hour,
                told=price.told,
                limit=limit if "limit" in item else None,
                scaling=scaling,
                cold_start_s=cold,
                power_w=profile.power_w,
                platform=platform,
            )
        return tuple(offers.values())

    def _profile(self, item: Section) -> HardwareProfile | None:
        name = item.text("profile")
        if "profile" not in item:
            return None
        if name not in self._catalogue.hardware_ids():
            item.note(
                "profile",
                f"unknown hardware profile {name!r}",
                next_step=nearest(name, self._catalogue.hardware_ids()),
            )
            return None
        return self._catalogue.hardware(name)


def _measured(file: Path) -> dict[tuple[str, Region], float]:
    """Round trips from a CSV file with the columns country, region, rtt_ms."""
    found: dict[tuple[str, Region], float] = {}
    findings = []
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                try:
                    rtt = float(row["rtt_ms"])
                    if not (isfinite(rtt) and rtt >= 0):
                        raise ValueError(row["rtt_ms"])
                    found[row["country"], Region.parse(row["region"])] = rtt
                except (KeyError, TypeError, ValueError) as error:
                    findings.append(
                        Finding(
                            "the round trip cannot be read",
                            f"{file}:{number}",
                            "columns country, region (provider/region), rtt_ms (at least 0)",
                            repr(error),
                        )
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("the file cannot be read", where=str(file), got=str(error)) from error
    if findings:
        raise InputError.of(findings[:20])
    return found
