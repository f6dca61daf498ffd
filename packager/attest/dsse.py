"""DSSE, the Dead Simple Signing Envelope (secure-systems-lab/dsse, protocol 1.0).

What is signed is not the payload but its pre-authentication encoding, which also binds the type of
the payload, so that a signature for one kind of document cannot be shown for another.
"""

from __future__ import annotations

from typing import Any

from packager.attest import base64_text
from packager.attest.keys import PublicKey, Signer

IN_TOTO = "application/vnd.in-toto+json"


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: `DSSEv1 <bytes> <type> <bytes> <payload>`."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign_envelope(payload: bytes, signer: Signer, payload_type: str = IN_TOTO) -> dict[str, Any]:
    """The JSON envelope with one signature; `keyid` stays empty, it is a hint and nothing more."""
    signature = signer.sign(pae(payload_type, payload))
    return {
        "payload": base64_text.encode(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": "", "sig": base64_text.encode(signature)}],
    }


def open_envelope(envelope: object, key: PublicKey, payload_type: str = IN_TOTO) -> bytes:
    """The payload, once its one signature is found to be the key's.

    Raises ValueError for another shape or another payload type, VerificationError for a signature
    that is not the key's.
    """
    match envelope:
        case {
            "payload": payload_text,
            "payloadType": str(kind),
            "signatures": [{"sig": signature_text, **other_signature}],
            **other,
        } if not other and other_signature.keys() <= {"keyid"}:
            pass
        case _:
            raise ValueError("not a DSSE envelope with exactly one signature")
    if kind != payload_type:
        raise ValueError(f"the payload is of type {kind[:80]!r}, not {payload_type!r}")
    payload = base64_text.decode(payload_text)
    key.verify(base64_text.decode(signature_text), pae(kind, payload))
    return payload
