"""From PEM to a key that can be used, or to an error that says what it is instead.

Nothing here repeats what it read: people put public keys where private ones belong, and hand over
keys of other tools. Each of these has its own message, and no message quotes a key or a library.
"""

from __future__ import annotations

import re
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from packager.attest.algorithms import ALGORITHMS, MIN_RSA_BITS, algorithm_of
from packager.errors import InputError

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


def parse_private(pem: bytes, password: str | None, where: str) -> Any:
    """A private key of a known algorithm from PEM. Raises InputError for everything else."""
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
    if algorithm_of(key) is None:
        raise _wrong_type(where, _kind(key))
    return key


def parse_public(pem: bytes, where: str) -> Any:
    """A public key of a known algorithm from PEM. Raises InputError for everything else."""
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
    if algorithm_of(key) is None:
        raise _wrong_type(where, _kind(key))
    return key


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
        case _:
            return "a key of another kind"


def _wrong_type(where: str, got: str) -> InputError:
    return InputError(
        "the key is of a kind that is not used here",
        where=where,
        expected=f"a PEM key: {', '.join(ALGORITHMS)} (RSA from {MIN_RSA_BITS} bits)",
        got=got,
        next_step=GENERATE,
    )


def not_a_key(where: str, got: str) -> InputError:
    return InputError(
        "this is not a key", where=where, expected="one PEM block", got=got, next_step=GENERATE
    )
