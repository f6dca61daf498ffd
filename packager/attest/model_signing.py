"""The model's own signature, as OpenSSF Model Signing writes it (OMS 1.0, `model_signing`).

It is about the model's folder, wherever that lies: in the image, or copied out of it. Its verifier
takes it with the public key alone:

    model_signing verify key --signature de-….oms.sigstore.json --public_key site.pub FOLDER
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from packager.attest import dsse
from packager.attest.keys import PublicKey, Signer, public_key_of
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import MediaType

PREDICATE = "https://model_signing/signature/v1.0"
# What the verifier's own writer puts there; paths of a working copy that are no part of a model.
_IGNORED = [".git", ".gitattributes", ".github", ".gitignore"]


def model_signature(name: str, files: Iterable[tuple[str, Digest]], signer: Signer) -> bytes:
    """A sigstore bundle over the files of a model's folder, path and digest each.

    `name` is informative. The subject's digest is over the files' digests in the order of names.
    """
    ordered = sorted(files)
    together = hashlib.sha256(b"".join(bytes.fromhex(digest.hex) for _, digest in ordered))
    statement: dict[str, Any] = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": together.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": digest.hex}
                for path, digest in ordered
            ],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": _IGNORED,
            },
        },
    }
    return dumps(
        {
            "mediaType": MediaType.SIGSTORE_BUNDLE,
            "verificationMaterial": {
                "publicKey": {"hint": _hint(public_key_of(signer))},
                "tlogEntries": [],
            },
            "dsseEnvelope": dsse.sign_envelope(dumps(statement), signer),
        }
    )


def _hint(key: PublicKey) -> str:
    """OMS hints at a key by SHA-256 of its PEM, in hex, where cosign takes base64 of its DER's."""
    return hashlib.sha256(key.pem).hexdigest()
