"""Does the release still stand: step 4.

Its bytes are the maker's; here is asked whether the maker, or the site, has taken that back since:
a key or the release itself was revoked, a key was rotated away, a newer release was installed. And
whether every key that the root names has signed, so that no signature can be taken off unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packager.attest.keys import PublicKey
from packager.attest.root import ROOT, Root
from packager.attest.signed_release import Seal, check_beside, check_first
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.errors import Finding, VerificationError
from packager.release_source import ReleaseSource


def check_standing(
    source: ReleaseSource,
    seal: Seal,
    root: Root,
    trust: TrustPolicy,
    verified: Sequence[PublicKey],
) -> dict[str, int]:
    """Step 4, standing: all its signers have signed, enough of them may still sign for this
    counter, nothing is revoked, and it is not older than what the site accepts.

    `verified` are the trusted keys whose signatures step 2 found right.
    """
    findings = [
        *_unsigned(source, seal, root),
        *_revoked(seal, root, trust),
        *_outdated_keys(root, trust, verified),
        *_downgrade(seal, root, trust),
    ]
    if findings:
        raise VerificationError.of(findings)
    return {"signers": len(root.signers)}


def _unsigned(source: ReleaseSource, seal: Seal, root: Root) -> Iterator[Finding]:
    first, *others = root.signers
    try:
        check_first(seal, first)
    except VerificationError as error:
        yield from error.findings
    for key in others:
        try:
            check_beside(source, seal, key)
        except VerificationError as error:
            yield from error.findings


def _revoked(seal: Seal, root: Root, trust: TrustPolicy) -> Iterator[Finding]:
    for key in root.signers:
        if key.fingerprint in trust.revoked_keys:
            yield Finding("a key that signed this release is revoked", ROOT, got=key.fingerprint)
    if Digest.of(seal.root) in trust.revoked_releases:
        yield Finding("this release is revoked", ROOT, got=str(Digest.of(seal.root)))


def _outdated_keys(
    root: Root, trust: TrustPolicy, verified: Sequence[PublicKey]
) -> Iterator[Finding]:
    for key in verified:
        if key not in root.signers:
            yield Finding("it is signed by a key that it does not name", ROOT, got=key.fingerprint)
    able = [key for key in verified if trust.may_sign(key, root.counter)]
    if len(able) < trust.required:
        yield Finding(
            "the key that signed this release was rotated away before it",
            ROOT,
            f"{trust.required} signatures of keys that may sign for counter {root.counter}",
            f"{len(able)}",
            "get a release that its maker signed with the new key",
        )


def _downgrade(seal: Seal, root: Root, trust: TrustPolicy) -> Iterator[Finding]:
    minimum = trust.minimum_of(root.name)
    if root.counter < minimum and not trust.permits_rollback(Digest.of(seal.root), minimum):
        yield Finding(
            "the release is older than what is accepted here (a downgrade)",
            ROOT,
            f"{root.name} with counter {minimum} or higher",
            f"version {root.version}, counter {root.counter}",
            "install a newer release; to go back on purpose, give a permit of the key's owner: "
            "packager keys allow-rollback",
        )
