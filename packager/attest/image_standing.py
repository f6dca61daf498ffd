"""Whether an image in a registry may still be used (step 5), by what its provenance tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packager.attest.keys import PublicKey
from packager.attest.statement import SLSA_PROVENANCE, Statement
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Told:
    """What the provenance says of the release that the image came from."""

    name: str
    version: str
    counter: int | None


def told_by(statements: Sequence[Statement]) -> Told:
    """Name, version and counter from the provenance, which step 4 found."""
    for statement in statements:
        match statement.predicate:
            case {
                "buildDefinition": {
                    "externalParameters": {"name": str(name), "version": str(version), **more}
                }
            } if statement.predicate_type == SLSA_PROVENANCE:
                counter = more.get("counter")
                return Told(name, version, counter if isinstance(counter, int) else None)
            case _:
                pass
    return Told("", "", None)


def check_image_standing(
    digest: Digest, told: Told, found: Sequence[PublicKey], trust: TrustPolicy
) -> None:
    if digest in trust.revoked_releases:
        raise VerificationError("this image is revoked", where=str(digest))
    counter = -1 if told.counter is None else told.counter
    able = [key for key in found if trust.may_sign(key, counter)]
    if len(able) < trust.required:
        raise VerificationError(
            "the key that signed this image was rotated away before it",
            where=str(digest),
            expected=f"{trust.required} signatures of keys that may sign for counter {counter}",
            got=str(len(able)),
        )
    minimum = trust.minimum_of(told.name)
    if counter < minimum:
        raise VerificationError(
            "the image is older than what is accepted here (a downgrade)",
            where=str(digest),
            expected=f"{told.name} with counter {minimum} or higher",
            got=f"version {told.version}, counter {told.counter}",
        )
