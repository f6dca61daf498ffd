"""The demand on certificates of the host.

A certificate belongs to a place, and nothing in a release can show it. What the user declares
(`hosting: {certifications: […]}`) is the whole list: what it does not name, the host does not hold.
"""

from __future__ import annotations

from packager.comply.duties import since
from packager.comply.location import DECLARED_IN
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule


def decide_hosting_certification(rule: Rule, situation: Situation) -> Outcome:
    """Evidenced by declaration, refused when the declared list lacks one, else the operator's."""
    asked = ", ".join(rule.certifications)
    held = situation.request.declared.hosting_certifications
    if held is None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"ask the host for: {asked}; nothing in the release can show it{since(rule)}. Once you "
            "know, `hosting: {certifications: […]}` puts on record what the host holds; it is read "
            "as the complete list",
        )
    known = {_plain(name) for name in held}
    missing = [name for name in rule.certifications if _plain(name) not in known]
    if missing:
        return Outcome(
            Status.VIOLATED,
            f"the host holds {', '.join(held) or 'nothing'}, as you declared, and that is read as "
            f"the complete list; missing: {', '.join(missing)}{since(rule)}",
            remedy="choose a host that holds it; if yours does, add it to the list in release.yaml "
            f"under `hosting: {{certifications: […]}}`, word for word: {', '.join(missing)}; if "
            "you do not know yet, leave `certifications` out and it is left to you to ask",
        )
    return Outcome(
        Status.EVIDENCED,
        f"the host holds {asked}, as you declared; ask for the certificate and its scope",
        (DECLARED_IN,),
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
