"""in-toto Statement v1 (in-toto/attestation, `spec/v1/statement.md`): a predicate about a subject.

The subject is an image by the digest of its manifest; its name is informative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packager.attest.bounded_json import load_object
from packager.canonical import dumps
from packager.digest import Digest

STATEMENT = "https://in-toto.io/Statement/v1"
SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
# Ours, as identifiers rather than addresses: the decisions of the policy, and what was measured.
COMPLIANCE = "urn:packager:attestation:compliance:v1"
QUALITY = "urn:packager:attestation:quality:v1"
ENCRYPTION = "urn:packager:attestation:encryption:v1"
COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Statement:
    """`predicate` of type `predicate_type` about `subject`."""

    subject_name: str
    subject: Digest
    predicate_type: str
    predicate: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return dumps(
            {
                "_type": STATEMENT,
                "subject": [{"name": self.subject_name, "digest": {"sha256": self.subject.hex}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read a statement with exactly one sha256 subject; raises ValueError for anything else."""
        match load_object(data, limit=MAX_BYTES):
            case {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": str(name), "digest": {"sha256": str(hex_digest)}}],
                "predicateType": str(kind),
                "predicate": dict(predicate),
                **other,
            } if not other:
                return cls(name, Digest.parse(f"sha256:{hex_digest}"), kind, predicate)
            case _:
                raise ValueError("not an in-toto statement v1 about one sha256 subject")
