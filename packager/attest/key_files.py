"""From what the user gave as a key to a key, or to an error that says what it is instead.

Nothing here repeats what it read: people paste keys where a path is wanted, put public keys where
private ones belong, and hand over keys of other tools. Each of these has its own message.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from packager.errors import InputError, PackagerError
from packager.workspace import refuse_existing, telling_output_errors

PASSWORD_VARIABLE = "PACKAGER_KEY_PASSWORD"  # noqa: S105 - the name of a variable, not a password
MAX_BYTES = 64 << 10
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(
    r"(?:([a-z][a-z0-9+.-]*)://|(pkcs11|hsm|awskms|gcpkms|azurekms|hv|gnupg|tkey):)"
)
# PEM itself, base64 of PEM, base64 of DER, a bare number
_LOOKS_LIKE_KEY = re.compile(r"-----|\n|LS0tLS|MI[A-Z][A-Za-z0-9+/=]{40,}|[0-9A-Fa-f]{64}")
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,60})-----")
_GENERATE = "make one: packager keys generate -o site.pem"
_SUPPORTED = "a PEM file (PKCS#8, P-256), or env://NAME with the PEM text or its base64"
_FOREIGN_BLOCKS = {
    b"ENCRYPTED SIGSTORE PRIVATE KEY": "a key in cosign's own encrypted form",
    b"ENCRYPTED COSIGN PRIVATE KEY": "a key in cosign's own encrypted form",
    b"OPENSSH PRIVATE KEY": "an OpenSSH key",
    b"PGP PRIVATE KEY BLOCK": "a PGP key",
    b"PGP PUBLIC KEY BLOCK": "a PGP key",
    b"CERTIFICATE": "a certificate",
}


def read_reference(reference: str, environ: Mapping[str, str]) -> tuple[bytes, str]:
    """The PEM bytes behind a reference, and how to name their place in messages."""
    if reference.startswith("env://"):
        return _read_variable(reference.removeprefix("env://"), environ)
    if "-----BEGIN" in reference:
        raise InputError(
            "a key itself was given where the name of a key belongs",
            expected=_SUPPORTED,
            next_step="put the key into a variable and give env://NAME; do not put keys on a "
            "command line, where other users of the machine can read them",
        )
    if scheme := _SCHEME.match(reference):
        raise InputError(
            f"keys by {scheme[1] or scheme[2]}: are not supported by this version",
            expected=_SUPPORTED,
            next_step="give a PEM file or env://NAME; a token or a key service can hold the key "
            "in a later version",
        )
    return read_file(Path(reference)), _tellable(reference)


def read_file(path: Path) -> bytes:
    """A key file of bounded size; raises InputError when it cannot be read."""
    where = _tellable(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else None
        raise InputError(
            "the key file cannot be read",
            where=where,
            got=os.strerror(code) if code else "not a path",
            next_step=_GENERATE if code == errno.ENOENT else "check the path and its permissions",
        ) from None
    return _bounded(data, where)


def _read_variable(name: str, environ: Mapping[str, str]) -> tuple[bytes, str]:
    if not _VARIABLE.fullmatch(name) or _LOOKS_LIKE_KEY.search(name):
        raise InputError(
            "env:// is not followed by the name of an environment variable",
            expected="env://PACKAGER_SIGNING_KEY",
            next_step="give the variable's name, not its value",
        )
    where = f"environment variable {name}"
    text = environ.get(name, "").strip()
    if not text:
        raise InputError(
            "the environment variable with the signing key is not set",
            where=where,
            expected="PEM text, or base64 of it",
            next_step=f'export {name}="$(cat site.pem)"',
        )
    data = text.encode(errors="surrogateescape")
    if b"-----BEGIN" not in data:
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error:
            raise _not_a_key(where, "neither PEM nor base64 of PEM") from None
    return _bounded(data, where), where


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise _not_a_key(where, f"more than {MAX_BYTES} bytes")
    if not data.strip():
        raise _not_a_key(where, "nothing: it is empty")
    return data


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
        raise _not_a_key(where, "a damaged PEM block") from None
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
        raise _not_a_key(where, "a damaged PEM block") from None
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


def write_pair(private: Path, private_pem: bytes, public: Path, public_pem: bytes) -> None:
    """Both files whole or none, never over an existing one."""
    for path in (private, public):
        refuse_existing(path)
    _write_new(private, private_pem, 0o600)
    try:
        _write_new(public, public_pem, 0o644)
    except BaseException:
        private.unlink(missing_ok=True)
        raise


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Like `write_atomically`, but what appeared at `path` meanwhile stays as it is."""
    with telling_output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".packager-key-", dir=path.parent)
        scratch = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            scratch.chmod(mode)
            _publish(scratch, path)
        except FileExistsError:
            refuse_existing(path)
            raise
        finally:
            scratch.unlink(missing_ok=True)


def _publish(scratch: Path, path: Path) -> None:
    """A link fails when the name is taken; a rename would not. Sticks and cards (FAT) know no
    links: there the name is taken first, which is as good against overwriting."""
    try:
        os.link(scratch, path)
    except FileExistsError:
        raise
    except OSError:
        path.open("xb").close()
        scratch.replace(path)


def _label(pem: bytes, where: str) -> bytes:
    """What the first PEM block calls itself; foreign kinds are refused by their own name."""
    block = _BLOCK.search(pem)
    if not block:
        raise _not_a_key(where, "no PEM block (-----BEGIN ...)")
    if block[1] in _FOREIGN_BLOCKS:
        raise _wrong_type(where, _FOREIGN_BLOCKS[block[1]])
    if not block[1].endswith((b"PRIVATE KEY", b"PUBLIC KEY")):
        raise _not_a_key(where, "a PEM block that is no key")
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
        next_step=_GENERATE,
    )


def _not_a_key(where: str, got: str) -> InputError:
    return InputError(
        "this is not a key", where=where, expected="one PEM block", got=got, next_step=_GENERATE
    )


def _tellable(reference: str) -> str:
    """A path for a message, unless it looks like somebody pasted a key."""
    return "the given key" if _LOOKS_LIKE_KEY.search(reference) else reference
