"""Key pairs and signers. What a key can do is in `algorithms.py`.

A signer is anything with two methods, so that a hardware token can be one. Signatures of keys in
files are deterministic (RFC 6979): the same bytes and the same key give the same signature, which
is what makes a whole signed release reproducible. Key material never stands in a message: a
reference that looks like a key is not repeated, and no library exception is chained that might
quote one.
"""

from __future__ import annotations

import base64
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from packager.attest import key_files, key_parsing, kms_signer, pkcs11_signer
from packager.attest.algorithms import P256, Algorithm, algorithm_named, algorithm_of
from packager.attest.key_parsing import GENERATE, PASSWORD_VARIABLE
from packager.digest import Digest
from packager.errors import InputError, VerificationError


class Signer(Protocol):
    """Whoever holds the private key."""

    def sign(self, data: bytes) -> bytes:
        """A signature over `data` as the key's algorithm makes it; ECDSA in DER."""

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
    """A public key. `der` is its SubjectPublicKeyInfo (RFC 5280), and all that it is equal by."""

    der: bytes
    _key: Any = field(compare=False, repr=False)

    @classmethod
    def of_pem(cls, pem: bytes, where: str) -> PublicKey:
        """Parse PEM. Raises InputError when it is anything but a public key that can be used."""
        key = key_parsing.parse_public(pem, where)
        return cls(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), key)

    @classmethod
    def of_der(cls, der: bytes) -> PublicKey:
        """Parse DER. Raises ValueError unless it is the one encoding of a usable key."""
        try:
            key = load_der_public_key(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("not a public key") from None
        found = cls(der, key)
        if algorithm_of(key) is None or der != key.public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ):
            raise ValueError("a public key of a kind or in a form that is not used")
        return found

    @property
    def algorithm(self) -> Algorithm:
        """How it signs."""
        found = algorithm_of(self._key)
        if found is None:
            raise TypeError("parsing lets only usable keys through")
        return found

    @property
    def pem(self) -> bytes:
        pem: bytes = self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    @property
    def fingerprint(self) -> str:
        """`sha256:<hex>` of `der`: `openssl pkey -pubin -outform DER -in site.pub | sha256sum`."""
        return str(Digest.of(self.der))

    @property
    def hint(self) -> str:
        """What cosign writes into bundles as the hint: base64 of SHA-256 of `der`."""
        return base64.b64encode(bytes.fromhex(Digest.of(self.der).hex)).decode()

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raises VerificationError unless `signature` over `data` is this key's."""
        try:
            self.algorithm.verify(self._key, signature, data)
        except InvalidSignature:
            raise VerificationError(
                "the signature is not this key's",
                expected=f"a signature of the key {self.fingerprint}",
            ) from None


class _FileSigner:
    """A private key in memory. It has no repr that could show it."""

    def __init__(self, key: Any, algorithm: Algorithm) -> None:
        self._key = key
        self._algorithm = algorithm

    def sign(self, data: bytes) -> bytes:
        return self._algorithm.sign(self._key, data)

    def public_key_pem(self) -> bytes:
        return _public_pem(self._key)


def open_signer(reference: str, environ: Mapping[str, str] = os.environ) -> Signer:
    """The signer behind a reference: a PEM file, `env://NAME` (PEM text, or base64 of it), a
    token (`pkcs11:…`), or a key service (`awskms:…`, `gcpkms:…`, `azurekms:…`, `hv:…`).

    An encrypted key is opened with $PACKAGER_KEY_PASSWORD. Raises InputError, with the next step,
    for everything that is not a usable private key, UnavailableError when a token or a service does
    not answer.
    """
    if reference.startswith(pkcs11_signer.SCHEME):
        _need("pkcs11", "python-pkcs11", reference, "pkcs11")
        return pkcs11_signer.TokenSigner(reference, environ)
    if reference.startswith(kms_signer.SCHEMES):
        _need("securesystemslib", "securesystemslib", reference, "kms")
        return kms_signer.ServiceSigner(reference)
    pem, where = key_files.read_reference(reference, environ)
    key = key_parsing.parse_private(pem, environ.get(PASSWORD_VARIABLE), where)
    algorithm = algorithm_of(key)
    if algorithm is None:
        raise TypeError("parsing lets only usable keys through")
    return _FileSigner(key, algorithm)


def open_signers(
    references: Sequence[str], environ: Mapping[str, str] = os.environ
) -> list[Signer]:
    """The signers of a release. The first signs everything, so it must be what stock tools verify;
    the others sign the root beside it. Raises InputError as `open_signer`, for a first key that is
    not ECDSA on P-256, and for a key that is given twice."""
    signers = [open_signer(reference, environ) for reference in references]
    keys = [public_key_of(signer) for signer in signers]
    if keys and keys[0].algorithm.name != P256:
        raise InputError(
            "the first key of a release must be of the kind that stock tools verify",
            expected=f"{P256}: for cosign, skopeo, podman and openssl",
            got=keys[0].algorithm.name,
            next_step="give a P-256 key first, and this one as a second: --key A.pem --key B.pem",
        )
    if len(set(keys)) != len(keys):
        raise InputError("a signing key is given twice", next_step="give each key once")
    return signers


def public_of(reference: str) -> bytes:
    """PEM of the public half of a signing key; raises InputError as `open_signer`."""
    return open_signer(reference).public_key_pem()


def read_public_key(path: Path) -> PublicKey:
    """A PEM `PUBLIC KEY` file. Raises InputError when it is anything else."""
    return PublicKey.of_pem(key_files.read_file(path), str(path))


def public_key_of(signer: Signer) -> PublicKey:
    """The public half of a signer as a value."""
    return PublicKey.of_pem(signer.public_key_pem(), "the signer's public key")


def generate_key(path: Path, password: bytes | None, algorithm: str = P256) -> KeyPair:
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
    key = algorithm_named(algorithm).generate()
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


def _need(module: str, package: str, reference: str, extra: str) -> None:
    """Raises InputError when the library of an optional kind of signer is not installed."""
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"signing with {reference.partition(':')[0]}: needs the library {package}",
            next_step=f"pip install '.[{extra}]' in packager's source",
        )


def _public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem
