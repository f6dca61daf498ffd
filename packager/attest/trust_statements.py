"""What happens to keys and releases after a site learned its first key, said so that it can travel.

Three statements, each a small canonical JSON document in a DSSE envelope in a sigstore bundle, each
signed with a key that the site trusts already:

  KeyRotation     "from now on believe this key instead of me"
  RevocationList  "believe these keys and these releases no more"
  RollbackPermit  "this older release may be installed over the newer one"

They need no clock: a rotation may name the last counter that the old key signs, lists are numbered,
and a permit names the counter that it may be installed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from packager.attest import base64_text, sigstore
from packager.attest.bounded_json import load_object
from packager.attest.keys import PublicKey, Signer, public_key_of
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.version import MAX_COUNTER
from packager.errors import VerificationError

PAYLOAD_TYPE = "application/vnd.packager.trust.v1+json"
MAX_STATEMENT = 1 << 20
_API = {"apiVersion": "packager/v1"}
_Statement = TypeVar("_Statement")


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """`old` signs for `new`. `last` is the newest counter that `old` still vouches for; None when
    it vouches for nothing any more."""

    old: str
    new: PublicKey
    last: int | None


@dataclass(frozen=True, slots=True)
class RevocationList:
    """Fingerprints of keys and digests of releases; a newer list has a higher number and holds all
    that the older ones held."""

    number: int
    keys: frozenset[str]
    releases: frozenset[Digest]


@dataclass(frozen=True, slots=True)
class RollbackPermit:
    """The release with this root may be installed over one of counter `installed`, and no other."""

    release: Digest
    installed: int


def rotation(old: Signer, new: Signer, last: int | None) -> bytes:
    """A KeyRotation, signed with the old key; the new key shows in it that somebody holds it."""
    fingerprint, der = public_key_of(old).fingerprint, public_key_of(new).der
    document = {
        **_API,
        "kind": "KeyRotation",
        "old": fingerprint,
        "new": base64_text.encode(der),
        "last": last,
        "proof": base64_text.encode(new.sign(_possession(fingerprint, der))),
    }
    return sigstore.dsse_bundle(dumps(document), old, PAYLOAD_TYPE)


def revocation_list(
    signer: Signer, number: int, keys: Iterable[str], releases: Iterable[Digest]
) -> bytes:
    """A RevocationList, signed."""
    document = {
        **_API,
        "kind": "RevocationList",
        "number": number,
        "keys": sorted(keys),
        "releases": sorted(str(digest) for digest in releases),
    }
    return sigstore.dsse_bundle(dumps(document), signer, PAYLOAD_TYPE)


def rollback_permit(signer: Signer, release: Digest, installed: int) -> bytes:
    """A RollbackPermit, signed."""
    document = {
        **_API,
        "kind": "RollbackPermit",
        "release": str(release),
        "installed": installed,
    }
    return sigstore.dsse_bundle(dumps(document), signer, PAYLOAD_TYPE)


def open_rotation(data: bytes, keys: Iterable[PublicKey], where: str) -> KeyRotation:
    """Raises VerificationError unless one of `keys` signed exactly such a one about itself."""
    return _open(data, keys, where, _rotation)


def open_revocations(data: bytes, keys: Iterable[PublicKey], where: str) -> RevocationList:
    """Raises VerificationError unless one of `keys` signed exactly such a statement."""
    return _open(data, keys, where, _revocations)


def open_permit(data: bytes, keys: Iterable[PublicKey], where: str) -> RollbackPermit:
    """Raises VerificationError unless one of `keys` signed exactly such a statement."""
    return _open(data, keys, where, _permit)


def _open(
    data: bytes,
    keys: Iterable[PublicKey],
    where: str,
    parse: Callable[[dict[str, Any], PublicKey], _Statement],
) -> _Statement:
    hint = sigstore.hint_of(data, MAX_STATEMENT)
    signer = next((key for key in keys if key.fingerprint == f"sha256:{hint}"), None)
    if signer is None:
        raise VerificationError(
            "the statement is not signed with a key that is trusted",
            where=where,
            got=f"one that says it was made with the key sha256:{hint}" if hint else None,
            next_step="give the public key that signed it with --key, if you trust it",
        )
    try:
        payload = sigstore.verify_dsse(data, signer, limit=MAX_STATEMENT, payload_type=PAYLOAD_TYPE)
        document = load_object(payload, limit=MAX_STATEMENT)
        if dumps(document) != payload:
            raise ValueError("not canonical JSON")
        return parse(document, signer)
    except (ValueError, VerificationError) as error:
        raise VerificationError(
            "the statement does not verify", where=where, got=str(error)
        ) from None


def _rotation(document: dict[str, Any], signer: PublicKey) -> KeyRotation:
    match document:
        case {
            "apiVersion": "packager/v1",
            "kind": "KeyRotation",
            "old": str(old),
            "new": new,
            "last": int() | None as last,
            "proof": proof,
            **other,
        } if not other:
            pass
        case _:
            raise ValueError("not a KeyRotation")
    if old != signer.fingerprint:
        raise ValueError("it is about another key than the one that signed it")
    key = PublicKey.of_der(base64_text.decode(new))
    key.verify(base64_text.decode(proof), _possession(old, key.der))
    return KeyRotation(old, key, None if last is None else _counter(last))


def _revocations(document: dict[str, Any], _: PublicKey) -> RevocationList:
    match document:
        case {
            "apiVersion": "packager/v1",
            "kind": "RevocationList",
            "number": int(number),
            "keys": list(keys),
            "releases": list(releases),
            **other,
        } if not other:
            fingerprints = frozenset(str(_digest(text)) for text in keys)
            return RevocationList(
                _counter(number), fingerprints, frozenset(_digest(text) for text in releases)
            )
        case _:
            raise ValueError("not a RevocationList")


def _permit(document: dict[str, Any], _: PublicKey) -> RollbackPermit:
    match document:
        case {
            "apiVersion": "packager/v1",
            "kind": "RollbackPermit",
            "release": str(release),
            "installed": int(installed),
            **other,
        } if not other:
            return RollbackPermit(Digest.parse(release), _counter(installed))
        case _:
            raise ValueError("not a RollbackPermit")


def _possession(old: str, new: bytes) -> bytes:
    """What the new key signs: that it succeeds this old key, and no other."""
    return dumps({"kind": "KeyRotation", "old": old, "new": base64_text.encode(new)})


def _digest(text: object) -> Digest:
    if not isinstance(text, str):
        raise ValueError("not a sha256 digest")
    return Digest.parse(text)


def _counter(value: int) -> int:
    if isinstance(value, bool) or not 0 <= value <= MAX_COUNTER:
        raise ValueError("not a whole number within bounds")
    return value
