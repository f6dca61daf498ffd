"""Key pairs and signers: ECDSA on P-256 with SHA-256, what stock cosign, skopeo and openssl verify.

A signer is anything with two methods, so that a hardware token can be one. Signatures are
deterministic (RFC 6979): the same bytes and the same key give the same signature, which is what
makes a whole signed release reproducible. Key material never stands in a message: a reference that
looks like a key is not repeated, and no library exception is chained that might quote one.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from packager.attest import key_files, key_parsing
from packager.attest.key_parsing import GENERATE, PASSWORD_VARIABLE
from packager.digest import Digest
from packager.errors import InputError, VerificationError


class Signer(Protocol):
    """Whoever holds the private key."""

    def sign(self, data: bytes) -> bytes:
        """DER-encoded ECDSA P-256 signature over SHA-256 of `data`, deterministic (RFC 6979)."""

    def public_key_pem(self) -> bytes:
        """The public half as PEM `PUBLIC KEY` (SubjectPublicKeyInfo)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files of a new key pair. `fingerprint` as in `PublicKey`."""

    private: Path
    public: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that the caller trusts. `der` is its SubjectPublicKeyInfo (RFC 5480)."""

    der: bytes
    _key: ec.EllipticCurvePublicKey

    @classmethod
    def of_pem(cls, pem: bytes, where: str) -> PublicKey:
        """Parse PEM. Raises InputError when it is anything but a P-256 public key."""
        key = key_parsing.parse_public(pem, where)
        return cls(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), key)

    @property
    def pem(self) -> bytes:
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of `der`: `openssl pkey -pubin -outform DER -in site.pub | sha256sum`."""
        return str(Digest.of(self.der))

    @property
    def hint(self) -> str:
        """What cosign writes into bundles as the hint: base64 of SHA-256 of `der`."""
        return base64.b64encode(bytes.fromhex(Digest.of(self.der).hex)).decode()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises VerificationError unless `signature` (DER) over `data` is this key's."""
        try:
            self._key.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise VerificationError(
                "the signature is not this key's",
                expected=f"a signature of the key {self.fingerprint}",
            ) from None


class _FileSigner:
    """A private key in memory. It has no repr that could show it."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._algorithm = key_parsing.deterministic_ecdsa()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, self._algorithm)

    def public_key_pem(self) -> bytes:
        return _public_pem(self._key)


def open_signer(reference: str, environ: Mapping[str, str] = os.environ) -> Signer:
    """The signer behind a reference: a PEM file, or `env://NAME` (PEM text, or base64 of it).

    An encrypted key is opened with $PACKAGER_KEY_PASSWORD. Raises InputError, with the next step,
    for everything that is not a usable P-256 private key.
    """
    pem, where = key_files.read_reference(reference, environ)
    return _FileSigner(key_parsing.parse_private(pem, environ.get(PASSWORD_VARIABLE), where))


def public_of(reference: str) -> bytes:
    """PEM of the public half of a signing key; raises InputError as `open_signer`."""
    return open_signer(reference).public_key_pem()


def read_public_key(path: Path) -> PublicKey:
    """A PEM `PUBLIC KEY` file. Raises InputError when it is anything but a P-256 public key."""
    return PublicKey.of_pem(key_files.read_file(path), str(path))


def public_key_of(signer: Signer) -> PublicKey:
    """The public half of a signer as a value."""
    return PublicKey.of_pem(signer.public_key_pem(), "the signer's public key")


def generate_key(path: Path, password: bytes | None) -> KeyPair:
    """Make a key pair: PKCS#8 PEM at `path` (mode 0600), the public key beside it as `.pub`.

    Encrypted when `password` is given. Both files appear whole or not at all, and nothing is ever
    overwritten: raises OutputError when one of them exists, InputError for an unusable name.
    """
    public = path.with_suffix(".pub")
    if public == path:
        raise InputError(
            "a private key must not be named .pub",
            where=str(path),
            expected="a name such as site.pem; the public key gets .pub",
            next_step=GENERATE,
        )
    key = ec.generate_private_key(ec.SECP256R1())
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        if not password:
            raise InputError(
                "the password is empty",
                where=f"${PASSWORD_VARIABLE}",
                next_step="unset it for a key without a password, or set a real one",
            )
        encryption = BestAvailableEncryption(password)
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    key_files.write_pair(path, private_pem, public, _public_pem(key))
    fingerprint = PublicKey.of_pem(_public_pem(key), str(public)).fingerprint
    return KeyPair(path, public, fingerprint)


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
