"""Demands on places: where inference runs, and where data, logs and keys stay.

All of them refuse a region outside, a region that nobody knows, and a target without regions: a
place that is not known is never assumed to be inside. A place outside passes when a declared
transfer opens the rule for its country. They differ in what holds the rest in place.
"""

from __future__ import annotations

from packager.comply.paths import opened, propose_paths, short_of
from packager.comply.situation import SITE, Outcome, Place, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule
from packager.domain.target import Region

MANY = 6
DECLARED_IN = "release.json"
TRANSFER_DUTIES = (
    "Name the destination in the record of processing and in the notice to the people concerned, "
    "and watch whether the decision that it rests on still stands"
)


def decide_inference(rule: Rule, situation: Situation) -> Outcome:
    """Inference happens inside: the manifests pin the region where their engine knows regions."""
    return refused_place(rule, situation) or _pinned(situation)


def decide_transfer(rule: Rule, situation: Situation) -> Outcome:
    """As inference; a place abroad that the rule allows brings duties that no manifest can meet."""
    if refused := refused_place(rule, situation):
        return refused
    abroad = [
        place
        for place in situation.places
        if place.country not in situation.target.jurisdiction.countries
    ]
    if not abroad:
        return _pinned(situation)
    countries = {place.country for place in abroad}
    decisions = "; ".join(str(one) for one in rule.adequacy if one.country in countries)
    basis = f" Adequate: {decisions}." if decisions else ""
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        f"lawful under this rule, but abroad: {_listed(abroad)}.{basis} {TRANSFER_DUTIES}",
        (situation.workload,),
    )


def decide_data_at_rest(rule: Rule, situation: Situation) -> Outcome:
    """The server stores nothing: its root file system is read-only and no volume is mounted."""
    return refused_place(rule, situation) or Outcome(
        Status.ENFORCED,
        "the server runs inside and stores nothing: its root file system is read-only, what it "
        "can write to is memory, and no volume is mounted",
        (situation.workload,),
    )


def decide_logs(rule: Rule, situation: Situation) -> Outcome:
    """The server writes to its standard output only; where that is collected is the site's."""
    if refused := refused_place(rule, situation):
        return refused
    if situation.request.declared.log_region is not None:
        return _declared_log(rule, situation, situation.request.declared.log_region)
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        "the server writes its log to standard output only and carries no request data in it; "
        f"collect and keep that output within {allowed(rule)}",
        (situation.network,),
    )


def decide_keys(rule: Rule, situation: Situation) -> Outcome:
    """No key travels in a release; the keys of disks and of transport are the site's."""
    if refused := refused_place(rule, situation):
        return refused
    held = situation.request.declared.key_location
    if held is not None and held not in rule.within:
        return Outcome(
            Status.VIOLATED,
            f"the keys are held in {held}, as you declared, outside {allowed(rule)}",
            remedy=f"hold them within {allowed(rule)} and declare that: "
            f"`signing: {{location: {rule.within[0]}}}`",
        )
    if held is not None:
        return Outcome(
            Status.EVIDENCED,
            f"no private key travels in the release; the keys are held in {held}, as you declared",
            (DECLARED_IN,),
        )
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        "no private key travels in the release; hold the keys for disks and for transport within "
        f"{allowed(rule)}",
    )


def _declared_log(rule: Rule, situation: Situation, region: Region) -> Outcome:
    """Where the log is collected, as declared, held to the rule; a stranger is never inside."""
    place = situation.place(region)
    if place.country is None:
        return Outcome(
            Status.VIOLATED,
            f"the log goes to {region}, and nobody knows where that is",
            remedy=declare(place),
        )
    if place.country not in rule.within and not opened(rule, situation, [place.country]):
        paths = propose_paths(rule, situation, [place.country])
        return Outcome(
            Status.VIOLATED,
            f"the log goes to {place}, as you declared, outside {allowed(rule)}",
            remedy=f"collect it within {allowed(rule)}, and name that place: "
            "`logs: {region: provider/region}`" + (f"; {paths}" if paths else ""),
        )
    return Outcome(
        Status.EVIDENCED,
        f"the server writes its log to standard output only; it is collected in {place}, as you "
        "declared",
        (DECLARED_IN,),
    )


def refused_place(rule: Rule, situation: Situation) -> Outcome | None:
    """The violation, when a place is missing, unknown or outside; None when all are inside."""
    if not situation.places:
        return Outcome(
            Status.VIOLATED,
            "the target names no region, so nothing says where it runs",
            remedy=_propose(rule, situation, "name at least one region"),
        )
    unknown = [place for place in situation.places if place.country is None]
    abroad = {code for place in situation.places if (code := place.country)} - set(rule.within)
    refused = abroad - opened(rule, situation, abroad)
    if not unknown and not refused:
        return None
    reasons, remedies = [], []
    if refused:
        outside = [place for place in situation.places if place.country in refused]
        reasons.append(f"outside {allowed(rule)}: {_listed(outside)}")
        reasons += short_of(rule, situation, refused)
        remedies.append(_propose(rule, situation, "choose a region inside"))
        if paths := propose_paths(rule, situation, refused):
            remedies.append(paths)
    if unknown:
        reasons.append(f"nobody knows where {_listed(unknown)} is")
        remedies.append(declare(unknown[0]))
    return Outcome(Status.VIOLATED, "; ".join(reasons), remedy="; ".join(remedies))


def allowed(rule: Rule) -> str:
    """The countries that count as inside, or how many they are when nobody would read them."""
    if len(rule.within) <= MANY:
        return ", ".join(rule.within)
    return f"the {len(rule.within)} countries that the rule allows"


def declare(place: Place) -> str:
    """How to tell where an unknown place is."""
    region = place.region
    if region.provider == SITE:
        return (
            f"declare it in release.yaml: `sites: {{{region.name}: <ISO 3166 code>}}`, or for a "
            f"bare model with --site {region.name}=<ISO 3166 code>"
        )
    return (
        f"declare it in a table of your own: regions/{region.provider}.yaml in the folder given "
        "with --targets, or name a room of your own as site/<name>"
    )


def _pinned(situation: Situation) -> Outcome:
    where = _listed(situation.places)
    declared = [place for place in situation.places if place.declared]
    told = f"; the country of {_listed(declared)} is what you declared" if declared else ""
    if situation.on_kubernetes:
        return Outcome(
            Status.ENFORCED,
            f"pods only run on nodes that carry the labels of {where}, of which those of "
            f"provider and jurisdiction are the administrator's word{told}",
            (situation.workload,),
        )
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        f"meant for {where}{told}. Compose knows no regions: start it on a host there",
        (situation.workload,),
    )


def _propose(rule: Rule, situation: Situation, words: str) -> str:
    nearest = situation.nearest_regions(rule.within)
    if nearest:
        return f"{words}, such as {', '.join(nearest)}"
    inside = rule.within[0]
    return (
        f"{words}; the catalogue knows no cloud region there, so name a room of your own: "
        f"regions: [site/<name>] and `sites: {{<name>: {inside}}}`"
    )


def _listed(places: tuple[Place, ...] | list[Place]) -> str:
    return ", ".join(map(str, places))
