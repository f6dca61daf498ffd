"""Signatures over one small document beside a release, such as the index of a bundle's parts.

Written twice, as for release.json: a sigstore bundle for cosign, a raw signature for openssl.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from packager.attest import sigstore
from packager.attest.keys import PublicKey, Signer
from packager.errors import VerificationError


@dataclass(frozen=True, slots=True)
class Signatures:
    """Both forms of a signature."""

    sigstore: bytes
    raw: bytes


def document_signer(signer: Signer) -> Callable[[bytes], tuple[bytes, bytes]]:
    """What makes both forms, sigstore bundle first, for whoever knows no signers."""
    return lambda data: (sigstore.message_bundle(data, signer), signer.sign(data))


def check_document(
    data: bytes, signatures: Signatures, keys: Sequence[PublicKey], where: str
) -> PublicKey:
    """The one of `keys` that both signatures over `data` are of; VerificationError for none."""
    why = "no key is trusted"
    for key in keys:
        try:
            sigstore.verify_message(signatures.sigstore, data, key)
            key.verify(signatures.raw, data)
        except (ValueError, VerificationError) as error:
            why = str(error)
        else:
            return key
    raise VerificationError(
        f"it does not carry the signature of a trusted key: {why}",
        where=where,
        expected=" or ".join(f"a signature of the key {key.fingerprint}" for key in keys),
        next_step="do not use it; get it again from its maker",
    )
