"""Debian's package index, believed only through the signature of Debian's archive.

`dists/trixie/InRelease` is checked with gpgv against Debian's archive keys; it names the digest of
`Packages.xz`, which names the digest of every package. Only the main archive's suite is read: point
releases bring security fixes into it, and one suite means one version of each package.
`trixie-security` and `trixie-updates` are not read. The suite carries no `Valid-Until`, so an old
but signed index cannot be told from a new one: the lock's versions say what was taken.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packager.assemble.mirror import Mirror
from packager.assemble.recipe import COMPONENT, SUITE
from packager.assemble.stanzas import stanzas
from packager.assemble.transfer import Missing, read
from packager.digest import Digest
from packager.errors import InputError, LockError

_KEYRING_VARIABLE = "PACKAGER_DEBIAN_KEYRING"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE_LIMIT = 4 << 20
_PACKAGES_LIMIT = 64 << 20
_UNPACKED_LIMIT = 512 << 20
_RELATION = re.compile(r"[a-z0-9][a-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """One stanza of a Packages file.

    `depends` joins Pre-Depends and Depends: a tuple of requirements, each a tuple of alternatives
    by name. Version restrictions are dropped: within one suite they hold. Size in bytes.
    """

    name: str
    version: str
    architecture: str
    filename: str
    digest: Digest
    size: int
    depends: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


def read_index(
    mirror: Mirror, architecture: str, *, environ: Mapping[str, str] = os.environ
) -> dict[str, PackageRecord]:
    """The main component of the suite for one Debian architecture, by package name.

    Raises UnavailableError when the mirror does not deliver, InputError when gpgv or the keyring is
    missing, LockError when a signature or a digest does not hold.
    """
    release = verified(read(mirror, f"dists/{SUITE}/InRelease", limit=_RELEASE_LIMIT), environ)
    return parse_packages(_packages(mirror, release, architecture))


def verified(signed: bytes, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The fields of an InRelease file whose signature holds.

    Only what gpgv itself gives back is read, never the text around it. The file carries several
    signatures and a keyring may lack one of the keys: one good signature is asked for, and no bad
    one.
    """
    keyring = Path(environ.get(_KEYRING_VARIABLE) or _KEYRING)
    if not keyring.is_file():
        raise InputError(
            "Debian's archive keys are not on this machine",
            where=str(keyring),
            next_step=(
                "install the package debian-archive-keyring, or name a keyring file in the "
                f"environment variable {_KEYRING_VARIABLE}"
            ),
        )
    with tempfile.TemporaryDirectory(prefix="packager-") as folder:
        source, plain = Path(folder, "InRelease"), Path(folder, "Release")
        source.write_bytes(signed)
        states = _gpgv(keyring, source, plain)
        if "GOODSIG" not in states or "BADSIG" in states or not plain.is_file():
            raise LockError(
                "the signature of Debian's package index does not hold",
                where=f"dists/{SUITE}/InRelease",
                expected=f"a signature by a key in {keyring}",
                got=", ".join(sorted(states)) or "no signature",
                next_step="try another mirror, or update the package debian-archive-keyring",
            )
        fields = next(stanzas(plain.read_text(encoding="utf-8", errors="replace")), {})
    if fields.get("codename") != SUITE:
        raise LockError(
            "the mirror serves another suite",
            where=f"dists/{SUITE}/InRelease: Codename",
            expected=SUITE,
            got=repr(fields.get("codename", "")[:80]),
        )
    return fields


def _gpgv(keyring: Path, source: Path, plain: Path) -> set[str]:
    """Which of gpgv's verdicts (`[GNUPG:] GOODSIG …`) were given."""
    command = ["gpgv", "--status-fd", "1", "--keyring", str(keyring.resolve())]
    try:
        done = subprocess.run(
            [*command, "--output", str(plain), str(source)], capture_output=True, timeout=60
        )
    except FileNotFoundError as error:
        raise InputError(
            "gpgv is not on this machine; without it Debian's signature cannot be checked",
            next_step="install the package gpgv",
        ) from error
    verdicts = {"GOODSIG", "BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NO_PUBKEY"}
    lines = [line.split() for line in done.stdout.decode("utf-8", "replace").splitlines()]
    return {line[1] for line in lines if len(line) > 1 and line[0] == "[GNUPG:]"} & verdicts


def _packages(mirror: Mirror, release: Mapping[str, str], architecture: str) -> str:
    """The text of Packages.xz, checked against the digest that the release file names."""
    name = f"{COMPONENT}/binary-{architecture}/Packages.xz"
    digest = _listed(release, name)
    folder = f"dists/{SUITE}/{name.rpartition('/')[0]}"
    try:
        # By digest first: a mirror that is being updated serves the old file there as well.
        packed = read(mirror, f"{folder}/by-hash/SHA256/{digest.hex}", limit=_PACKAGES_LIMIT)
    except Missing:
        packed = read(mirror, f"dists/{SUITE}/{name}", limit=_PACKAGES_LIMIT)
    if (got := Digest.of(packed)) != digest:
        raise LockError(
            "the package index is not the one that Debian signed",
            where=f"dists/{SUITE}/{name}",
            expected=str(digest),
            got=str(got),
            next_step="try again later, or try another mirror",
        )
    unpacker = lzma.LZMADecompressor(memlimit=1 << 30)
    plain = unpacker.decompress(packed, max_length=_UNPACKED_LIMIT)
    if not unpacker.eof:
        raise LockError("the package index is too large", where=f"dists/{SUITE}/{name}")
    return plain.decode("utf-8", errors="replace")


def _listed(release: Mapping[str, str], name: str) -> Digest:
    for line in release.get("sha256", "").splitlines():
        parts = line.split()
        if (
            len(parts) == 3
            and parts[2] == name
            and len(parts[0]) == hashlib.sha256().digest_size * 2
        ):
            return Digest.parse(f"sha256:{parts[0]}")
    raise LockError(
        "Debian's release file does not list the package index",
        where=f"dists/{SUITE}/InRelease: SHA256",
        expected=name,
    )


def parse_packages(text: str) -> dict[str, PackageRecord]:
    """Records by name. Raises LockError for a stanza without name, file, digest or size."""
    records: dict[str, PackageRecord] = {}
    for fields in stanzas(text):
        try:
            record = PackageRecord(
                name=fields["package"],
                version=fields["version"],
                architecture=fields["architecture"],
                filename=fields["filename"],
                digest=Digest.parse(f"sha256:{fields['sha256']}"),
                size=int(fields["size"]),
                depends=(*_relations(fields, "pre-depends"), *_relations(fields, "depends")),
                provides=tuple(name for names in _relations(fields, "provides") for name in names),
            )
        except (KeyError, ValueError) as error:
            raise LockError(
                "the package index has an entry that cannot be read",
                where=f"Packages: {fields.get('package', '?')[:80]}",
                got=str(error)[:200],
            ) from error
        records[record.name] = record
    return records


def _relations(fields: Mapping[str, str], name: str) -> tuple[tuple[str, ...], ...]:
    """`a (>= 1) | b:any, c` as (("a", "b"), ("c",))."""
    requirements = (part.split("|") for part in fields.get(name, "").split(",") if part.strip())
    return tuple(
        tuple(match[0] for choice in choices if (match := _RELATION.match(choice.strip())))
        for choices in requirements
    )
