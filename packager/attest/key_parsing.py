"""From PEM to a P-256 key, or to an error that says what it is instead.

Nothing here repeats what it read: people put public keys where private ones belong, and hand over
keys of other tools. Each of these has its own message, and no message quotes a key or a library.
"""

from __future__ import annotations

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from packager.errors import InputError, PackagerError

PASSWORD_VARIABLE = "PACKAGER_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password
GENERATE = "make one: packager keys generate -o site.pem"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----")
_FOREIGN_BLOCKS = {
    b"ENCRYPTED SIGSTORE PRIVATE KEY": "a key in cosign's own encrypted form",
    b"ENCRYPTED COSIGN PRIVATE KEY": "a key in cosign's own encrypted form",
    b"OPENSSH PRIVATE KEY": "an OpenSSH key",
    b"PGP PRIVATE KEY BLOCK": "a PGP key",
    b"PGP PUBLIC KEY BLOCK": "a PGP key",
    b"CERTIFICATE": "a certificate",
}


def parse_private(pem: bytes, password: str | None, where: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from PEM. Raises InputError for everything else."""
    label = _label(pem, where)
    if label == b"PUBLIC KEY":
        raise InputError(
            "a public key was given where the private one is needed",
            where=where,
            expected="the file that `packager keys generate` wrote with mode 0600",
            next_step="give the .pem file, not the .pub file",
        )
    encrypted = b"ENCRYPTED" in label or b"Proc-Type: 4,ENCRYPTED" in pem
    if encrypted and not password:
        raise InputError(
            "the key is encrypted and no password was given",
            where=where,
            expected=f"its password in ${PASSWORD_VARIABLE}",
            next_step=f"read -rs {PASSWORD_VARIABLE} && export {PASSWORD_VARIABLE}",
        )
    try:
        key = load_pem_private_key(pem, password.encode() if encrypted and password else None)
    except (ValueError, TypeError):
        if encrypted:
            raise InputError(
                "the key does not open with this password",
                where=where,
                expected=f"the right password in ${PASSWORD_VARIABLE}",
                next_step="check the password; if it is right, the file is damaged",
            ) from None
        raise not_a_key(where, "a damaged PEM block") from None
    except UnsupportedAlgorithm:
        raise _wrong_type(where, "a key of a kind that is not known here") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong_type(where, _kind(key))
    return key


def parse_public(pem: bytes, where: str) -> ec.EllipticCurvePublicKey:
    """A P-256 public key from PEM. Raises InputError for everything else."""
    label = _label(pem, where)
    if b"PRIVATE KEY" in label:
        raise InputError(
            "a private key was given where the public one is needed",
            where=where,
            expected="the .pub file of the one who signed",
            next_step="make it with: packager keys public KEY > site.pub; the private key belongs "
            "only to where releases are built",
        )
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError):
        raise not_a_key(where, "a damaged PEM block") from None
    except UnsupportedAlgorithm:
        raise _wrong_type(where, "a key of a kind that is not known here") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong_type(where, _kind(key))
    return key


def deterministic_ecdsa() -> ec.ECDSA:
    """ECDSA with SHA-256 and RFC 6979; raises PackagerError where the library cannot do it."""
    try:
        return ec.ECDSA(SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        raise PackagerError(
            "the installed cryptography library cannot sign deterministically (RFC 6979)",
            expected="cryptography with OpenSSL 3.2 or later",
            next_step="install the wheel from your Python index: pip install --force-reinstall "
            "--only-binary cryptography cryptography",
        ) from None


def _label(pem: bytes, where: str) -> bytes:
    """What the first PEM block calls itself; foreign kinds are refused by their own name."""
    block = _BLOCK.search(pem)
    if not block:
        raise not_a_key(where, "no PEM block (-----BEGIN ...)")
    if block[1] in _FOREIGN_BLOCKS:
        raise _wrong_type(where, _FOREIGN_BLOCKS[block[1]])
    if not block[1].endswith((b"PRIVATE KEY", b"PUBLIC KEY")):
        raise not_a_key(where, "a PEM block that is no key")
    return block[1]


def _kind(key: object) -> str:
    match key:
        case rsa.RSAPrivateKey() | rsa.RSAPublicKey():
            return f"an RSA key of {key.key_size} bits"
        case ec.EllipticCurvePrivateKey() | ec.EllipticCurvePublicKey():
            return f"an elliptic-curve key on {key.curve.name}"
        case ed25519.Ed25519PrivateKey() | ed25519.Ed25519PublicKey():
            return "an Ed25519 key"
        case _:
            return "a key of another kind"


def _wrong_type(where: str, got: str) -> InputError:
    return InputError(
        "the key is of a kind that is not used here",
        where=where,
        expected="an ECDSA key on P-256 (secp256r1) as PEM, what stock verifiers take",
        got=got,
        next_step=GENERATE,
    )


def not_a_key(where: str, got: str) -> InputError:
    return InputError(
        "this is not a key", where=where, expected="one PEM block", got=got, next_step=GENERATE
    )
