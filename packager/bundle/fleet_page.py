"""The fleet as one HTML page that needs nothing from outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packager.bundle.fleet import Drift, SiteStanding, versions_of
from packager.resources import data_folder


def fleet_html(name: str, version: str, digest: str, sites: Sequence[SiteStanding]) -> str:
    """Sites × versions × drift, for the release that they should have."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["size"] = _size
    return environment.get_template("fleet.html.j2").render(
        name=name,
        version=version,
        digest=digest,
        sites=[site.as_dict() for site in sites],
        versions=versions_of(sites, version),
        counts={drift.value: Counter(site.drift for site in sites)[drift] for drift in Drift},
    )


def _size(count: int) -> str:
    """Bytes in decimal units, as sticks are sold."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
