"""The demand on cryptography: what the release satisfies, what it does not, said in both cases.

The release is signed with ECDSA P-256 and SHA-256, which stock tools verify everywhere. It brings
no validated module and no national algorithm, and ends no TLS. A demand for either is left to the
site by name and never passed over.
"""

from __future__ import annotations

from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.jurisdiction import CryptographyStandard, Rule

_USED = "the release is signed with ECDSA P-256 and SHA-256 and the server ends no TLS"
_SITE = "the site's gateway, disks and key store have to bring"

# Standard → (what of it is satisfied, what is not and has to come from elsewhere).
_COMPARED = {
    CryptographyStandard.FIPS_140_3: (
        "these algorithms are approved ones (FIPS 186-5, FIPS 180-4)",
        "the release holds no validated module, neither where it is signed nor in the image; "
        f"{_SITE} modules with a certificate of the CMVP",
    ),
    CryptographyStandard.SM: (
        "nothing of it",
        f"no SM2, SM3 or SM4 is used; {_SITE} them, with certified products",
    ),
    CryptographyStandard.GOST: (
        "nothing of it",
        f"no GOST R 34.10, 34.11 or 34.12 is used; {_SITE} them, with certified products",
    ),
    CryptographyStandard.KCMVP: (
        "nothing of it",
        "the release holds no module validated under the KCMVP, and no ARIA, SEED or LEA is used; "
        f"{_SITE} them",
    ),
    CryptographyStandard.APPROVED_PRODUCTS: (
        "nothing of it",
        "the release is no product that the authority has approved and holds no validated module; "
        f"{_SITE} approved ones",
    ),
    CryptographyStandard.RECOMMENDED_ALGORITHMS: (
        "whether these algorithms stand in the recommendation was not looked up",
        "the release holds no validated module; compare the algorithms with the recommendation, "
        "for the signature as for gateway, disks and key store",
    ),
}
_UNNAMED = (
    "whatever asks for these algorithms and no more",
    "the release holds no validated module; if other algorithms or validated products are "
    f"demanded, {_SITE} them; the signature does not meet the demand",
)


def decide_cryptography(rule: Rule, _situation: Situation) -> Outcome:
    """Always left to the operator, with what is met and what is not."""
    met, lacking = _COMPARED[rule.standard] if rule.standard else _UNNAMED
    return Outcome(Status.LEFT_TO_OPERATOR, f"{_USED}. Satisfied: {met}. Not satisfied: {lacking}")
