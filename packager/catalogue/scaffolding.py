"""`targets new`: the text of a profile to start from, valid as it is."""

from __future__ import annotations

import re

from packager.errors import InputError

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

_JURISDICTION = """\
# A profile of your own. Use it with: packager check RELEASE.yaml --targets DIR
apiVersion: packager/v1
kind: Jurisdiction
id: {name}
name: {title}
{extends}countries: [{countries}]            # ISO 3166 codes that count as inside
registries: []             # hosts that you know to stand inside, such as "*.example.{domain}"
confidence: medium
reviewed: {reviewed}
uncertain: []
rules:
  - id: our-inference
    # replaces: gdpr-transfer   # sets a rule of a parent aside; without it, rules only add up
    demand: inference_within
    data: [personal, health, financial, government]
    within: [{countries}]
    text: What the rule asks for, in one plain sentence.
    law:
      name: The law or the policy
      article: Art. 1
      source: memory           # an address as soon as you have looked it up
      confidence: memory
# A path abroad that you hold; release.yaml then declares it as {name}/our-clauses. It opens its
# rules only with a source that you have read.
# mechanisms:
#   - id: our-clauses
#     kind: standard clauses
#     opens: [our-inference]
#     data: [personal]
#     to: [US]
#     text: What it is.
#     asks: What has to be held for it.
#     law: {{name: The law, article: Art. 2, source: "https://…", confidence: high}}
"""

_HARDWARE = """\
# A profile of your own. Use it with: packager build RELEASE.yaml --targets DIR
apiVersion: packager/v1
kind: Hardware
id: {name}
name: {title}
extends: {parent}
# State only what differs from {parent}; see it with: packager targets show {parent}
memory_gb: 64
proven: never
confidence: medium
sources:
  - "memory: measured here"
"""


def scaffold(kind: str, name: str, today: str, parent: str | None = None) -> str:
    """YAML for a new `jurisdiction` or `hardware` profile that extends `parent`.

    `today`, as 2026-11-23, is the day of the review that the profile starts from. Without a parent
    a jurisdiction stands alone, and hardware extends the generic x86-64 server.
    Raises InputError for a name that cannot be an id.
    """
    if not _ID.fullmatch(name):
        raise InputError(
            "this cannot be the id of a profile",
            where="ID",
            expected="lower-case words with dashes, such as my-state",
            got=repr(name),
        )
    title = name.replace("-", " ").title()
    if kind == "hardware":
        return _HARDWARE.format(name=name, title=title, parent=parent or "x86-64-v3")
    code = (parent or name)[:2].upper()
    country = code if len(code) == 2 and code.isalpha() else "XX"
    return _JURISDICTION.format(
        name=name,
        title=title,
        extends=f"extends: [{parent}]\n" if parent else "",
        countries=country if parent != "eu" else "eea",
        domain=country.lower(),
        reviewed=today,
    )
