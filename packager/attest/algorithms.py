"""The signature algorithms that are used, one object each: how a key of it signs and verifies.

ECDSA on P-256 is what stock cosign, skopeo, podman and openssl all verify, so it signs first. The
others sign beside it: P-384 and RSA where a rule asks for them, Ed25519, and ML-DSA-65 (FIPS 204)
against the day when a quantum computer forges the rest. Signatures are deterministic, except those
of ML-DSA, which the library makes with fresh randomness.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm

from packager.errors import InputError, PackagerError

with contextlib.suppress(ImportError):  # before cryptography 47
    from cryptography.hazmat.primitives.asymmetric import mldsa

MIN_RSA_BITS = 3072
P256 = "ecdsa-p256"
ML_DSA = "ml-dsa-65"
_Key = Any  # the private or public key object of `cryptography` that belongs to the algorithm


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`sign(private, data)` and `verify(public, signature, data)`; verifying raises
    `cryptography.exceptions.InvalidSignature`. `reproducible` says whether the same key and data
    always give the same signature."""

    name: str
    generate: Callable[[], _Key]
    sign: Callable[[_Key, bytes], bytes]
    verify: Callable[[_Key, bytes, bytes], None]
    reproducible: bool = True


def algorithm_of(key: object) -> Algorithm | None:
    """The algorithm of a private or public key; None when it is of a kind that is not used."""
    match key:
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return _CURVES.get(key.curve.name)
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return ALGORITHMS["ed25519"]
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey() if key.key_size >= MIN_RSA_BITS:
            return ALGORITHMS["rsa-3072"]
        case _ if type(key).__name__ in ("MLDSA65PrivateKey", "MLDSA65PublicKey"):
            return ALGORITHMS[ML_DSA]
        case _:
            return None


def algorithm_named(name: str) -> Algorithm:
    """One of `ALGORITHMS`; raises InputError where the installed library lacks it."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    raise InputError(
        "the algorithm is not known here",
        expected=", ".join(ALGORITHMS),
        got=name[:40],
        next_step="pip install --upgrade cryptography" if name == ML_DSA else None,
    )


def _deterministic(digest: HashAlgorithm) -> ec.ECDSA:
    """ECDSA with RFC 6979; raises PackagerError where the library cannot do it."""
    try:
        return ec.ECDSA(digest, deterministic_signing=True)
    except UnsupportedAlgorithm:
        raise PackagerError(
            "the installed cryptography library cannot sign deterministically (RFC 6979)",
            expected="cryptography with OpenSSL 3.2 or later",
            next_step="install the wheel from your Python index: pip install --force-reinstall "
            "--only-binary cryptography cryptography",
        ) from None


def _ecdsa(name: str, curve: ec.EllipticCurve, digest: HashAlgorithm) -> Algorithm:
    return Algorithm(
        name,
        lambda: ec.generate_private_key(curve),
        lambda key, data: key.sign(data, _deterministic(digest)),
        lambda key, signature, data: key.verify(signature, data, ec.ECDSA(digest)),
    )


def _all() -> dict[str, Algorithm]:
    found = [
        _ecdsa(P256, ec.SECP256R1(), SHA256()),
        _ecdsa("ecdsa-p384", ec.SECP384R1(), SHA384()),
        Algorithm(
            "ed25519",
            ed25519.Ed25519PrivateKey.generate,
            lambda key, data: key.sign(data),
            lambda key, signature, data: key.verify(signature, data),
        ),
        Algorithm(
            "rsa-3072",
            lambda: rsa.generate_private_key(65537, MIN_RSA_BITS),
            lambda key, data: key.sign(data, padding.PKCS1v15(), SHA256()),
            lambda key, signature, data: key.verify(signature, data, padding.PKCS1v15(), SHA256()),
        ),
    ]
    if "mldsa" in globals():
        found.append(
            Algorithm(
                ML_DSA,
                lambda: mldsa.MLDSA65PrivateKey.generate(),
                lambda key, data: key.sign(data),
                lambda key, signature, data: key.verify(signature, data),
                reproducible=False,
            )
        )
    return {algorithm.name: algorithm for algorithm in found}


ALGORITHMS: Final = _all()
_CURVES: Final = {
    "secp256r1": ALGORITHMS[P256],
    "secp384r1": ALGORITHMS["ecdsa-p384"],
}
