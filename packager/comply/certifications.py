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
            f"ask the host for: {asked}; nothing in the release can show it{since(rule)}",
        )
    known = {_plain(name) for name in held}
    missing = [name for name in rule.certifications if _plain(name) not in known]
    if missing:
        return Outcome(
            Status.VIOLATED,
            f"the host holds {', '.join(held) or 'nothing'}, as you declared; missing: "
            f"{', '.join(missing)}{since(rule)}",
            remedy="choose a host that holds it; if yours does, name it in release.yaml under "
            f"`hosting: {{certifications: […]}}` as: {', '.join(missing)}",
        )
    return Outcome(
        Status.EVIDENCED,
        f"the host holds {asked}, as you declared; ask for the certificate and its scope",
        (DECLARED_IN,),
    )


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
