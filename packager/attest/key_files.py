"""Where keys come from and where they go: references, files, environment variables.

Nothing here repeats what it read. People paste keys where a path is wanted, so a reference that
looks like a key does not stand in a message.
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

from packager.attest.key_parsing import GENERATE, not_a_key
from packager.errors import InputError
from packager.workspace import refuse_existing, telling_output_errors

MAX_BYTES = 64 << 10
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]*)://|(hsm|gnupg|tkey):)")
# PEM itself, base64 of PEM, base64 of DER, a bare number
_LOOKS_LIKE_KEY = re.compile(r"-----|\n|LS0tLS|MI[A-Z][A-Za-z0-9+/=]{40,}|[0-9A-Fa-f]{64}")
_SUPPORTED = "a PEM file (PKCS#8), or env://NAME with the PEM text or its base64"


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
            next_step="a token is named by pkcs11:, a key service by awskms:, gcpkms:, azurekms: "
            "or hv: (HashiCorp Vault)",
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
            next_step=GENERATE if code == errno.ENOENT else "check the path and its permissions",
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
            raise not_a_key(where, "neither PEM nor base64 of PEM") from None
    return _bounded(data, where), where


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise not_a_key(where, f"more than {MAX_BYTES} bytes")
    if not data.strip():
        raise not_a_key(where, "nothing: it is empty")
    return data


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


def _tellable(reference: str) -> str:
    """A path for a message, unless it looks like somebody pasted a key."""
    return "the given key" if _LOOKS_LIKE_KEY.search(reference) else reference
