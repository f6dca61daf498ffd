"""Sigstore bundle v0.3, signed with a key (sigstore/protobuf-specs, `sigstore_bundle.proto`).

One JSON file that holds a signature and what is needed to check it. We use its key form: no
certificate, no transparency log, no network; the verifier brings the public key. `cosign
verify-blob` and `@sigstore/verify` read it. The hint names the key, and never chooses it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from packager.attest import base64_text, dsse
from packager.attest.bounded_json import load_object
from packager.attest.keys import PublicKey, Signer, public_key_of
from packager.canonical import dumps
from packager.domain.artifact import MediaType

MAX_MESSAGE_BUNDLE = 64 << 10


def message_bundle(data: bytes, signer: Signer) -> bytes:
    """A bundle with a signature over `data`, as canonical JSON."""
    return dumps(
        _material(signer)
        | {
            "messageSignature": {
                "messageDigest": {
                    "algorithm": "SHA2_256",
                    "digest": base64_text.encode(hashlib.sha256(data).digest()),
                },
                "signature": base64_text.encode(signer.sign(data)),
            }
        }
    )


def dsse_bundle(payload: bytes, signer: Signer, payload_type: str = dsse.IN_TOTO) -> bytes:
    """A bundle with a DSSE envelope around `payload`, as canonical JSON."""
    envelope = dsse.sign_envelope(payload, signer, payload_type)
    return dumps(_material(signer) | {"dsseEnvelope": envelope})


def verify_message(bundle: bytes, data: bytes, key: PublicKey) -> None:
    """Raises ValueError for what is not exactly such a bundle, VerificationError when it is not the
    key's signature over `data`. Unknown fields are refused: nothing in a bundle goes unchecked."""
    content = _content(bundle, key, MAX_MESSAGE_BUNDLE, "messageSignature")
    match content:
        case {
            "messageDigest": {"algorithm": "SHA2_256", "digest": digest_text, **other_digest},
            "signature": signature_text,
            **other,
        } if not other and not other_digest:
            pass
        case _:
            raise ValueError("messageSignature is not a SHA2_256 digest and a signature")
    if base64_text.decode(digest_text) != hashlib.sha256(data).digest():
        raise ValueError("the bundle is about other bytes: its messageDigest differs")
    key.verify(base64_text.decode(signature_text), data)


def verify_dsse(
    bundle: bytes, key: PublicKey, *, limit: int, payload_type: str = dsse.IN_TOTO
) -> bytes:
    """The payload of a DSSE bundle of at most `limit` bytes; errors as `verify_message`."""
    return dsse.open_envelope(_content(bundle, key, limit, "dsseEnvelope"), key, payload_type)


def hint_of(bundle: bytes, limit: int = MAX_MESSAGE_BUNDLE) -> str | None:
    """The key hint of a bundle that nobody has verified: to pick among keys that the caller trusts
    already, and for messages."""
    try:
        found = load_object(bundle, limit=limit)
        hint = found["verificationMaterial"]["publicKey"]["hint"]
        return base64_text.decode(hint).hex()[:64]
    except (ValueError, KeyError, TypeError):
        return None


def _material(signer: Signer) -> dict[str, Any]:
    return {
        "mediaType": MediaType.SIGSTORE_BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": public_key_of(signer).hint},
            "tlogEntries": [],
        },
    }


def _content(bundle: bytes, key: PublicKey, limit: int, kind: str) -> Any:
    found = load_object(bundle, limit=limit)
    if found.keys() != {"mediaType", "verificationMaterial", kind}:
        raise ValueError(f"not a bundle of mediaType, verificationMaterial and {kind}")
    if found["mediaType"] != MediaType.SIGSTORE_BUNDLE:
        raise ValueError(f"mediaType is not {MediaType.SIGSTORE_BUNDLE}")
    if found["verificationMaterial"] != {"publicKey": {"hint": key.hint}, "tlogEntries": []}:
        raise ValueError("it was made with another key, or by certificate, which is not used here")
    return found[kind]
