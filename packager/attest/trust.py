"""Whom a site believes, as a value: keys, how many of them, what was revoked, how old is too old.

Everything in it comes from the caller: keys by way of paper, statements that such keys signed, and
counters that the site remembers. A release adds nothing to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packager.attest.keys import PublicKey, read_public_key
from packager.attest.trust_statements import (
    MAX_STATEMENT,
    KeyRotation,
    RevocationList,
    RollbackPermit,
    open_permit,
    open_revocations,
    open_rotation,
)
from packager.digest import Digest
from packager.domain.trust import ANY_RELEASE, TrustFiles
from packager.errors import InputError, VerificationError


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """`until` is the newest counter that it may sign: it was rotated away. None without an end."""

    key: PublicKey
    until: int | None = None

    def may_sign(self, counter: int) -> bool:
        return self.until is None or counter <= self.until


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Whom to believe. `required` different keys must have signed a release; `minimum` maps names
    of releases (`*` for any) to the smallest counter that is accepted."""

    keys: tuple[TrustedKey, ...]
    required: int = 1
    revoked_keys: frozenset[str] = frozenset()
    revoked_releases: frozenset[Digest] = frozenset()
    revocations: int = 0
    minimum: Mapping[str, int] = field(default_factory=dict)
    permits: tuple[RollbackPermit, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.required <= len(self.keys):
            raise InputError(
                "more signatures are required than keys are trusted",
                expected=f"at least 1, at most {len(self.keys)}",
                got=str(self.required),
                next_step="give every public key whose signature is required with --key",
            )

    @classmethod
    def of(cls, *keys: PublicKey, required: int = 1) -> TrustPolicy:
        """These keys, nothing revoked, every age accepted."""
        return cls(tuple(TrustedKey(key) for key in dict.fromkeys(keys)), required)

    @property
    def usable(self) -> tuple[PublicKey, ...]:
        """The keys that are not revoked."""
        return tuple(
            trusted.key for trusted in self.keys if trusted.key.fingerprint not in self.revoked_keys
        )

    def may_sign(self, key: PublicKey, counter: int) -> bool:
        """Whether the key is trusted, not revoked, and not rotated away before this counter."""
        return key in self.usable and any(
            trusted.key == key and trusted.may_sign(counter) for trusted in self.keys
        )

    def minimum_of(self, name: str) -> int:
        """The smallest counter of the release `name` that is accepted."""
        return max(self.minimum.get(name, 0), self.minimum.get(ANY_RELEASE, 0))

    def permits_rollback(self, release: Digest, minimum: int) -> bool:
        """Whether a signed permit allows this release although its counter is below `minimum`."""
        return RollbackPermit(release, minimum) in self.permits

    def rotated(self, rotation: KeyRotation) -> TrustPolicy:
        """The new key in, the old one out, or kept for what it had signed until then."""
        keys = []
        for trusted in self.keys:
            if trusted.key.fingerprint != rotation.old:
                keys.append(trusted)
            elif rotation.last is not None:
                keys.append(TrustedKey(trusted.key, rotation.last))
        if rotation.new not in [trusted.key for trusted in keys]:
            keys.append(TrustedKey(rotation.new))
        return replace(self, keys=tuple(keys))

    def revoking(self, revoked: RevocationList) -> TrustPolicy:
        """With all that the list revokes."""
        return replace(
            self,
            revoked_keys=self.revoked_keys | revoked.keys,
            revoked_releases=self.revoked_releases | revoked.releases,
            revocations=max(self.revocations, revoked.number),
        )


def read_trust(files: TrustFiles) -> TrustPolicy:
    """The policy that the caller's files say.

    Revocations come first: a rotation or a permit that a revoked key signed counts for nothing.
    Raises InputError for a file that cannot be used, VerificationError for a statement that no
    trusted key signed, for a revocation list older than one that the site knows, and for two
    rotations of one key.
    """
    given = TrustPolicy.of(*(read_public_key(path) for path in files.keys))
    rotations = [(path, _read(path)) for path in files.rotations]
    known = {*_keys(given), *_keys(_rotated(given, rotations, frozenset()))}
    lists = [open_revocations(_read(path), known, str(path)) for path in files.revocations]
    newest = max((each.number for each in lists), default=0)
    if newest < files.minimum_revocations:
        raise VerificationError(
            "the revocation list is older than one that this site has seen, or is missing",
            where=", ".join(map(str, files.revocations)) or None,
            expected=f"number {files.minimum_revocations} or higher",
            got=str(newest) if lists else None,
        )
    told = frozenset(f"sha256:{one.removeprefix('sha256:')}" for one in files.revoked)
    revoked = told.union(*(each.keys for each in lists))
    policy = replace(_rotated(given, rotations, revoked), revoked_keys=told)
    for each in lists:
        policy = policy.revoking(each)
    permits = [open_permit(_read(path), policy.usable, str(path)) for path in files.permits]
    return replace(
        policy, required=files.required, minimum=dict(files.minimum), permits=tuple(permits)
    )


def _keys(policy: TrustPolicy) -> list[PublicKey]:
    return [trusted.key for trusted in policy.keys]


def _rotated(
    policy: TrustPolicy, statements: Iterable[tuple[Path, bytes]], revoked: frozenset[str]
) -> TrustPolicy:
    """All rotations, in whatever order their files were given: A to B, B to C."""
    waiting = dict(statements)
    known = {key.fingerprint: key for key in _keys(policy)}
    done: dict[str, tuple[Path, PublicKey]] = {}
    while waiting:
        path, rotation = _next_rotation(waiting, list(known.values()), revoked)
        del waiting[path]
        earlier, new = done.setdefault(rotation.old, (path, rotation.new))
        if new != rotation.new:
            raise VerificationError(
                "the key was rotated to two different keys; one of the statements is a thief's",
                where=f"{earlier}, {path}",
                next_step="ask the owner of the key over a way that you trust",
            )
        known[rotation.new.fingerprint] = rotation.new
        policy = policy.rotated(rotation)
    return policy


def _next_rotation(
    waiting: Mapping[Path, bytes], keys: Sequence[PublicKey], revoked: frozenset[str]
) -> tuple[Path, KeyRotation]:
    """The first statement that a known key signed; raises what the first one says when none is."""
    failures: list[VerificationError] = []
    for path, data in waiting.items():
        try:
            rotation = open_rotation(data, keys, str(path))
        except VerificationError as error:
            failures.append(error)
            continue
        if rotation.old in revoked:
            raise VerificationError(
                "the rotation is signed with a key that is revoked",
                where=str(path),
                got=rotation.old,
                next_step="give the new public key itself with --key, if its owner gave it to you",
            )
        return path, rotation
    raise failures[0]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_STATEMENT + 1)
    except OSError as error:
        raise InputError(
            "the statement cannot be read", where=str(path), got=error.strerror
        ) from None
    if len(data) > MAX_STATEMENT:
        raise InputError(
            "the statement is too long", where=str(path), expected=f"at most {MAX_STATEMENT} bytes"
        )
    return data
