"""What the images are built on: from nothing, or on a base that somebody brings.

Without a base every byte of an image is a pinned package that the bill of materials names. A base
is another maker's work: it has to be pinned by digest, and what it does is not known here, beyond
the packages that its own records list.
"""

from __future__ import annotations

from packager.comply.location import DECLARED_IN, allowed
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule


def decide_base(situation: Situation) -> Outcome:
    """Whatever the rules say: a base that is not pinned is refused."""
    base, sbom = situation.request.base, situation.target.name.sbom_path
    if base.reference is None:
        return Outcome(
            Status.EVIDENCED,
            f"base image: {base}; every package in the image is pinned by digest and listed",
            (sbom,),
        )
    if base.digest is None:
        return Outcome(
            Status.VIOLATED,
            f"the base {base.reference} is not pinned by digest, so nobody can say what it is",
            remedy="name it as <registry>/<name>@sha256:…, or pin it: packager lock",
        )
    maker = f", made in {base.origin} as you declared" if base.origin else ", maker not declared"
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        f"base image: {base}{maker}; our bill of materials lists the packages that the base's own "
        "records name, unchecked; read its maker's bill of materials and licence",
        (sbom, DECLARED_IN),
    )


def decide_base_origin(rule: Rule, situation: Situation) -> Outcome:
    """The country of the base's maker, as declared; nothing to ask where there is no base."""
    base = situation.request.base
    if base.reference is None:
        return Outcome(
            Status.EVIDENCED,
            f"base image: {base}; what is in the image comes from packages listed by name",
            (situation.target.name.sbom_path,),
        )
    if base.origin is None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"nothing says who made the base {base.reference}: find out, and declare it with "
            "`base: {reference: …, origin: <ISO 3166 code>}`",
        )
    if base.origin not in rule.within:
        return Outcome(
            Status.VIOLATED,
            f"the base comes from {base.origin}, as you declared, which the rule leaves out",
            remedy=f"use a base from {allowed(rule)}, or none at all",
        )
    return Outcome(
        Status.EVIDENCED, f"the base comes from {base.origin}, as you declared", (DECLARED_IN,)
    )
