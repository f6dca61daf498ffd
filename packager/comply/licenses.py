"""The demand on the model's licence: known, and put on record.

An SPDX licence expression (SPDX 2.3, annex D) of identifiers that are listed here passes. A licence
of the user's own naming (`LicenseRef-…`) is known to the user alone, and left to the operator. The
list holds the identifiers that models and their code carry; another one is refused with the nearest
names, since a misspelled licence is an unknown one.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from packager.comply.each_model import for_each_model
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import Rule

KNOWN = frozenset(
    """
    0BSD AFL-3.0 AGPL-3.0-only AGPL-3.0-or-later Apache-1.1 Apache-2.0 Artistic-2.0 BSD-2-Clause
    BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause BSL-1.0 C-UDA-1.0 CC-BY-1.0
    CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0
    CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0
    CC-BY-SA-4.0 CC0-1.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 CDLA-Sharing-1.0 CECILL-2.1
    CECILL-B CECILL-C ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 GFDL-1.3-only GFDL-1.3-or-later
    GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later
    LGPL-3.0-only LGPL-3.0-or-later LPPL-1.3c MIT MIT-0 MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA
    ODC-By-1.0 ODbL-1.0 OFL-1.1 OSL-3.0 PDDL-1.0 PostgreSQL Python-2.0 Unlicense UPL-1.0 Vim
    W3C WTFPL Zlib
    """.split()  # noqa: SIM905 - a list to read, not to parse
)
_WORD = re.compile(r"[A-Za-z0-9.+:-]+|[()]")
_OPERATORS = frozenset({"AND", "OR", "WITH", "(", ")"})


def decide_model_license(_rule: Rule, situation: Situation) -> Outcome:
    """Whether the request names a licence that can be looked up, of every model."""
    return for_each_model(_decide_license, situation)


def _decide_license(situation: Situation) -> Outcome:
    expression = situation.request.model_license
    if not expression:
        return Outcome(
            Status.VIOLATED,
            "the request names no licence for the model",
            remedy="name it in release.yaml as an SPDX identifier: `model: {license: Apache-2.0}`",
        )
    names = _identifiers(expression)
    strangers = [name for name in names if name not in KNOWN and not name.startswith("LicenseRef-")]
    if strangers or not names:
        stranger = strangers[0] if strangers else expression
        close = get_close_matches(stranger, sorted(KNOWN), n=3, cutoff=0.5)
        proposal = f"did you mean {' or '.join(close)}? " if close else ""
        return Outcome(
            Status.VIOLATED,
            f"nobody knows the licence {stranger!r}",
            remedy=f"{proposal}Name a licence of your own as LicenseRef-<name>, and keep its text",
        )
    if any(name.startswith("LicenseRef-") for name in names):
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"{expression} is a licence of your own naming: read whether it allows this use here",
            (situation.target.name.sbom_path,),
        )
    return Outcome(
        Status.EVIDENCED,
        f"the model is recorded under {expression}",
        (situation.target.name.sbom_path,),
    )


def _identifiers(expression: str) -> list[str]:
    """The licence identifiers of an SPDX expression; exceptions after WITH are left out."""
    words = _WORD.findall(expression)
    return [
        word.removesuffix("+")
        for before, word in zip(["", *words], words, strict=False)
        if word not in _OPERATORS and before != "WITH"
    ]
