"""The demand on registries: images are pulled from inside, or from nowhere.

What counts, in this order: what the user declared for the host (`registry_countries`); a pattern
that the profile knows; a cloud registry whose host name carries its region. A host below the
national domain of a country inside (`registry.example.de`) is a hint and no proof of where the
machine stands: it passes, and is left to the operator to confirm. Anything else is unknown and
refused, and the registries that the whole world shares are refused whatever is declared for them.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from packager.comply.location import allowed, refused_place
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule
from packager.domain.target import Region

_WORLDWIDE = frozenset(
    {
        "docker.io",
        "gcr.io",
        "ghcr.io",
        "index.docker.io",
        "k8s.gcr.io",
        "mcr.microsoft.com",
        "nvcr.io",
        "public.ecr.aws",
        "quay.io",
        "registry-1.docker.io",
        "registry.gitlab.com",
        "registry.hub.docker.com",
        "registry.k8s.io",
    }
)
# Host name → region, as the providers document the addresses of their registries.
_REGIONAL = (
    (
        "aws",
        re.compile(
            r"[0-9]{12}\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.(com|com\.cn|eu)"
        ),
    ),
    ("gcp", re.compile(r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev")),
    ("oci", re.compile(r"(ocir\.)?(?P<region>[a-z0-9-]+)\.(ocir\.io|oci\.oraclecloud\.com)")),
    (
        "alibaba",
        re.compile(
            r"([a-z0-9-]+-)?registry(-intl)?(-vpc)?\.(?P<region>[a-z0-9-]+)(\.cr)?\.aliyuncs\.com"
        ),
    ),
)
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")
# National domains that are not named by the country's ISO 3166 code.
_DOMAIN_COUNTRY = {"uk": "GB"}
# National domains that are sold and used as words all over the world: no hint at all.
_USED_WORLDWIDE = frozenset(
    ["ai", "cc", "co", "fm", "gg", "io", "ly", "me", "sh", "to", "tv", "ws"]
)


def decide_registry(rule: Rule, situation: Situation) -> Outcome:
    """Whether the registry that the jurisdiction pulls from stands inside."""
    host = _host(situation.target.registry)
    if host is None:
        return Outcome(
            Status.ENFORCED,
            "no registry is named: the manifests name the image on the machine itself, so nothing "
            "is pulled from anywhere",
            (situation.workload,),
        )
    if _LOOPBACK.fullmatch(_name(host)):
        return refused_place(rule, situation) or Outcome(
            Status.ENFORCED,
            f"{host} is the machine itself, which stands inside",
            (situation.workload,),
        )
    if _name(host) in _WORLDWIDE:
        return _refused(rule, situation, host, f"{host} serves the whole world from anywhere")
    return (
        _by_declaration(rule, situation, host)
        or _by_pattern(situation, host)
        or _by_region(rule, situation, host)
        or _by_domain(rule, situation, host)
    )


def _by_declaration(rule: Rule, situation: Situation, host: str) -> Outcome | None:
    declared = situation.request.registry_countries
    country = declared.get(host) or declared.get(_name(host))
    if country is None:
        return None
    if country not in rule.within:
        return _refused(rule, situation, host, f"{host} stands in {country}, as you declared")
    return Outcome(
        Status.ENFORCED,
        f"every image is named by digest at {host}, which stands in {country}, as you declared",
        (situation.workload,),
    )


def _by_pattern(situation: Situation, host: str) -> Outcome | None:
    for pattern in situation.target.jurisdiction.registries:
        if fnmatchcase(host, pattern) or fnmatchcase(_name(host), pattern):
            return Outcome(
                Status.ENFORCED,
                f"every image is named by digest at {host}, which the profile knows as {pattern}",
                (situation.workload,),
            )
    return None


def _by_region(rule: Rule, situation: Situation, host: str) -> Outcome | None:
    for provider, form in _REGIONAL:
        if match := form.fullmatch(_name(host)):
            region = Region(provider, match.group("region"))
            country = situation.country_of(region)
            if country in rule.within:
                return Outcome(
                    Status.ENFORCED,
                    f"every image is named by digest at {host}, which is {region} ({country})",
                    (situation.workload,),
                )
            told = f"{region} ({country or 'country unknown'})"
            return _refused(rule, situation, host, f"{host} stands in {told}")
    return None


def _by_domain(rule: Rule, situation: Situation, host: str) -> Outcome:
    domain = _name(host).rpartition(".")[2]
    country = _DOMAIN_COUNTRY.get(domain, domain.upper())
    if "." in host and country in rule.within and domain not in _USED_WORLDWIDE:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"{host} is named below the national domain of {country}. A name does not prove where "
            "the machine stands: confirm it, and put it on record with "
            f"`registry_countries: {{{host}: {country}}}`",
            (situation.workload,),
        )
    return _refused(rule, situation, host, f"nobody knows where {host} stands")


def _refused(rule: Rule, situation: Situation, host: str, why: str) -> Outcome:
    jurisdiction = situation.target.name.jurisdiction
    if _name(host) in _WORLDWIDE:
        remedy = (
            f"mirror the images inside, and name that registry: `registry: {{{jurisdiction}: …}}`"
        )
    else:
        remedy = (
            f"name a registry inside: `registry: {{{jurisdiction}: …}}`, or, if this one stands in "
            f"{allowed(rule)}, "
            f"declare it: `registry_countries: {{{host}: <ISO 3166 code>}}`"
        )
    return Outcome(Status.VIOLATED, why, remedy=remedy)


def _host(registry: str | None) -> str | None:
    return registry.partition("/")[0].lower() if registry else None


def _name(host: str) -> str:
    """The host without its port."""
    return host if host.endswith("]") else re.sub(r":[0-9]+$", "", host)
