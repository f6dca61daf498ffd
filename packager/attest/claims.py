"""What a signature or an attestation of an image says, once its key was checked.

The same documents lie in a release's layout and in a registry; where they come from is for the
caller. All functions raise ValueError for another shape and VerificationError for a signature that
is not the key's.
"""

from __future__ import annotations

from collections.abc import Mapping

from packager.attest import base64_text, cosign, dsse, sigstore
from packager.attest.bounded_json import load_object
from packager.attest.keys import PublicKey
from packager.attest.statement import MAX_BYTES, Statement
from packager.digest import Digest

MAX_PAYLOAD = 64 << 10
# Base64 of base64, and the envelope around it.
MAX_ENVELOPE = 2 * MAX_BYTES
Claim = tuple[Digest, str]


def signed_claim(payload: bytes, annotations: Mapping[str, str], key: PublicKey) -> Claim:
    """Digest and repository that a simple-signing payload names; its signature is an annotation."""
    signature = base64_text.decode(annotations.get(cosign.SIGNATURE_ANNOTATION))
    key.verify(signature, payload)
    match load_object(payload, limit=MAX_PAYLOAD):
        case {
            "critical": {
                "identity": {"docker-reference": str(repository)},
                "image": {"docker-manifest-digest": str(digest)},
                "type": "cosign container image signature",
            }
        }:
            return Digest.parse(digest), repository
        case _:
            raise ValueError("not a cosign simple-signing payload")


def classic_statement(data: bytes, annotations: Mapping[str, str], key: PublicKey) -> Statement:
    """The statement in a DSSE envelope, of the type that its annotation says."""
    envelope = load_object(data, limit=MAX_ENVELOPE)
    statement = Statement.parse(dsse.open_envelope(envelope, key))
    _same_type(statement, annotations, "predicateType")
    return statement


def bundled_statement(
    data: bytes, annotations: Mapping[str, str], subject: Digest, key: PublicKey
) -> Statement:
    """The statement in a sigstore bundle that refers to `subject`, and is about it."""
    statement = Statement.parse(sigstore.verify_dsse(data, key, limit=MAX_ENVELOPE))
    if subject != statement.subject:
        raise ValueError("it refers to another image than its statement is about")
    _same_type(statement, annotations, cosign.PREDICATE_ANNOTATION)
    return statement


def _same_type(statement: Statement, annotations: Mapping[str, str], name: str) -> None:
    if annotations.get(name) != statement.predicate_type:
        raise ValueError(f"its annotation {name} is not the type of its predicate")
