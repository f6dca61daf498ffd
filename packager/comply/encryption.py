"""The demand that only keys held in the country open the model: its layer is encrypted.

Whose keys they are is for the user to say, since a public key tells nobody where its private half
lies. The images carry the encrypted layer alone, are signed after it was encrypted, and attest what
comes out of it.
"""

from __future__ import annotations

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule


def decide_model_encrypted(_rule: Rule, situation: Situation) -> Outcome:
    """Refused where nobody is named whose key opens it."""
    name = situation.target.name
    recipients = situation.request.recipients.get(name.jurisdiction, ())
    if not recipients:
        return Outcome(
            Status.VIOLATED,
            "the model's layer would stand in the image for everybody to read",
            remedy="name the public keys of those who may open it, whose private halves are held "
            f"inside: `encryption: {{{name.jurisdiction}: [site.pub]}}` in release.yaml, or "
            "--recipient site.pub for a bare model",
        )
    keys = "one key" if len(recipients) == 1 else f"{len(recipients)} keys"
    return Outcome(
        Status.EVIDENCED,
        f"the model's layer is encrypted for {keys} that you name, and for nobody else; the image "
        "attests what comes out of it. See to it that the private halves are held inside",
        (name.provenance_path,),
    )
