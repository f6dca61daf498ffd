"""From bytes that nobody vouches for to a release whose root is believed: steps 1 to 3.

Before the signature is checked, exactly three files are read, none further than its bound, and
only the bundle is parsed. After step 3 the root's list of digests decides what every later step may
read: `SignedRelease.read` gives no byte that the root does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packager.attest import root, sigstore
from packager.attest.keys import PublicKey
from packager.attest.root import ListedFile, Root
from packager.attest.trust import TrustPolicy
from packager.carrying import Carried
from packager.closed_world import Inventory
from packager.digest import Digest
from packager.errors import Finding, VerificationError
from packager.progress import Progress
from packager.release_source import ReleaseSource, read_bounded

MAX_RAW_SIGNATURE = 1 << 10
_BOUNDS = {
    root.ROOT: root.MAX_ROOT,
    root.BUNDLE: sigstore.MAX_MESSAGE_BUNDLE,
    root.RAW_SIGNATURE: MAX_RAW_SIGNATURE,
}


@dataclass(frozen=True, slots=True)
class Seal:
    """The root and its two signatures as they were read, believed by nobody yet."""

    root: bytes
    bundle: bytes
    raw_signature: bytes


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A release whose root carries the key's signature; `inventory` is what lies in its source.

    Of a source that carries some targets only, `part` says what travels with them, and `root` and
    `listed` name only that.
    """

    source: ReleaseSource
    inventory: Inventory
    root: Root
    listed: Mapping[str, ListedFile]
    progress: Progress
    part: Carried | None = None

    @property
    def key(self) -> PublicKey:
        """The key that signed the images: the root names it, and is believed."""
        return self.root.signers[0]

    def read(self, path: str, limit: int) -> bytes:
        """A listed file of at most `limit` bytes, hashed again as it is read, so that what is used
        is what was signed even if somebody writes into the folder meanwhile.

        Raises VerificationError when it is not listed, too long, or not what was signed.
        """
        listed = self.listed.get(path)
        if listed is None:
            raise VerificationError("the root does not name this file", where=path)
        if listed.size > limit:
            raise VerificationError(
                "the file is too long for what it is",
                where=path,
                expected=f"at most {limit} bytes",
                got=f"{listed.size} bytes",
            )
        data = read_bounded(self.source, path, listed.size)
        if Digest.of(data) != listed.digest:
            raise VerificationError("the file is not what was signed", where=path)
        return data


def read_seal(source: ReleaseSource) -> Seal:
    """Step 1, seal: the root and its signatures are plain files within bounds.

    Raises VerificationError with all findings.
    """
    found: dict[str, bytes] = {}
    findings: list[Finding] = []
    for name, limit in _BOUNDS.items():
        try:
            found[name] = read_bounded(source, name, limit)
        except VerificationError as error:
            findings += error.findings
    if findings:
        raise VerificationError.of(findings)
    return Seal(found[root.ROOT], found[root.BUNDLE], found[root.RAW_SIGNATURE])


def check_signature(source: ReleaseSource, seal: Seal, trust: TrustPolicy) -> tuple[PublicKey, ...]:
    """Step 2, signature: as many trusted keys as the caller requires signed the root.

    The bundle's hint only picks among keys that the caller trusts. Where one of them signed beside
    the first key, its file is read as well: its name follows from the key, so no list is needed. A
    signature that is there and wrong is refused, however many others are right.
    """
    claimed = f"sha256:{sigstore.hint_of(seal.bundle)}"
    found = [key for key in trust.usable if key.fingerprint == claimed]
    for key in found:
        check_first(seal, key)
    others = [key for key in trust.usable if key not in found]
    found += [key for key in others if _signed_beside(source, seal, key)]
    if len(found) < trust.required:
        raise _too_few(seal, trust, found)
    return tuple(found)


def check_first(seal: Seal, key: PublicKey) -> None:
    """The bundle and the raw signature are this key's; raises VerificationError."""
    try:
        sigstore.verify_message(seal.bundle, seal.root, key)
    except (ValueError, VerificationError) as error:
        raise _not_signed(str(error), root.BUNDLE, seal, key) from None
    try:
        key.verify(seal.raw_signature, seal.root)
    except VerificationError as error:
        raise _not_signed(str(error), root.RAW_SIGNATURE, seal, key) from None


def check_beside(source: ReleaseSource, seal: Seal, key: PublicKey) -> None:
    """The signature of a key that signs beside the first one is there, and the key's."""
    path = root.signature_path(key)
    bundle = read_bounded(source, path, sigstore.MAX_MESSAGE_BUNDLE)
    try:
        sigstore.verify_message(bundle, seal.root, key)
    except (ValueError, VerificationError) as error:
        raise VerificationError(
            f"release.json does not carry this key's signature: {error}",
            where=path,
            expected=f"a signature of the key {key.fingerprint}",
        ) from None


def _signed_beside(source: ReleaseSource, seal: Seal, key: PublicKey) -> bool:
    try:
        source.open(root.signature_path(key)).close()
    except FileNotFoundError:
        return False
    except OSError:
        pass  # there is something: whoever reads it says what is wrong with it
    check_beside(source, seal, key)
    return True


def read_document(seal: Seal) -> Root:
    """Step 3, document: the root is one canonical document of the shape that we know."""
    try:
        return root.parse_root(seal.root)
    except ValueError as error:
        raise VerificationError(
            "the signed root cannot be understood",
            where=root.ROOT,
            got=str(error),
            next_step="verify it with the version of packager that made it",
        ) from None


def _too_few(seal: Seal, trust: TrustPolicy, found: list[PublicKey]) -> VerificationError:
    claimed = f"sha256:{sigstore.hint_of(seal.bundle)}"
    if claimed in trust.revoked_keys:
        return VerificationError(
            "the key that signed this release is revoked",
            where=root.BUNDLE,
            got=claimed,
            next_step="do not use this release; get one that its maker signed with the new key",
        )
    if trust.required > 1:
        return VerificationError(
            f"release.json carries {len(found)} of {trust.required} signatures that are required",
            where=root.BUNDLE,
            expected=", ".join(key.fingerprint for key in trust.usable),
            got=", ".join(key.fingerprint for key in found) or "none of them",
        )
    for key in trust.usable:
        try:
            check_first(seal, key)
        except VerificationError as error:
            return error
    return VerificationError("every trusted key is revoked", where=root.BUNDLE)


def _not_signed(why: str, where: str, seal: Seal, key: PublicKey) -> VerificationError:
    claimed = sigstore.hint_of(seal.bundle)
    other = claimed and f"sha256:{claimed}" != key.fingerprint
    return VerificationError(
        f"release.json does not carry this key's signature: {why}",
        where=where,
        expected=f"a signature of the key {key.fingerprint}",
        got=f"a bundle that says it was made with the key sha256:{claimed}" if other else None,
        next_step="do not use this release; if the key is the wrong one, get the right public key "
        "from its owner over a way that you trust, never from the release",
    )
