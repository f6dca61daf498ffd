"""What holds for every target whatever its rules say: its places are known, and who runs them.

A region inside a country may belong to a provider whose seat is in another one. The law of the seat
can reach what the provider holds, so the report names it; whether that is acceptable no rule says
unless it demands a certificate that excludes it.
"""

from __future__ import annotations

from packager.comply.location import declare
from packager.comply.situation import SITE, Outcome, Situation
from packager.domain.decision import Status


def decide_places(situation: Situation) -> Outcome:
    """A place that nobody knows is refused."""
    unknown = [place for place in situation.places if place.country is None]
    known = [place for place in situation.places if place.country is not None]
    listed = ", ".join(map(str, unknown or known))
    if unknown:
        return Outcome(
            Status.VIOLATED, f"nobody knows where {listed} is", remedy=declare(unknown[0])
        )
    if known:
        return Outcome(Status.EVIDENCED, f"it runs in {listed}", ("release.json",))
    return Outcome(
        Status.LEFT_TO_OPERATOR, "the target names no region: where it runs is yours to know"
    )


def decide_providers(situation: Situation) -> Outcome:
    """Left to the operator when a provider's seat is abroad or not known."""
    clouds = [place.region for place in situation.places if place.region.provider != SITE]
    if not clouds:
        return Outcome(Status.NOT_APPLICABLE, "no region of a cloud provider is named")
    inside = situation.target.jurisdiction.countries
    homes = {region: situation.home_of(region) for region in clouds}
    foreign = [
        f"{region} ({home or 'not known'})" for region, home in homes.items() if home not in inside
    ]
    if foreign:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"the provider behind {', '.join(foreign)} has its seat outside {_few(inside)}, and "
            "the law of its seat may reach what it holds wherever that lies: weigh it in the "
            "assessment, above all for sensitive data, and hold the keys yourself. The seat of a "
            "provider is from memory",
        )
    return Outcome(
        Status.EVIDENCED,
        f"each provider has its seat inside: {', '.join(map(str, homes))}; from memory",
        ("release.json",),
    )


def _few(countries: tuple[str, ...]) -> str:
    return ", ".join(countries) if len(countries) <= 6 else f"the {len(countries)} countries"
