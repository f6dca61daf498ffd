"""Which Debian mirror to ask: the user's word, else what apt on this machine uses.

No host is written down here. A mirror is not trusted: what it serves is believed only after the
signature of Debian's archive or a digest of the lock was checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from packager.assemble.recipe import COMPONENT
from packager.assemble.stanzas import stanzas
from packager.errors import InputError

_VARIABLE = "PACKAGER_DEBIAN_MIRROR"
_ONE_LINE = re.compile(
    r"deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)"
)
# The root of a mirror of Debian's main archive ends so; a snapshot has its time behind it.
_MAIN_ARCHIVE = re.compile(r".*/debian(?:/\d{8}T\d{6}Z)?/?")


@dataclass(frozen=True, slots=True)
class Mirror:
    """The root of a Debian archive, under which `dists/` and `pool/` stand; no final slash."""

    base: str

    def url(self, path: str) -> str:
        """The address of `path`, which is relative to the root."""
        return f"{self.base}/{path}"

    def __str__(self) -> str:
        """The address for messages, without a user name or password in it."""
        parts = urlsplit(self.base)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


def find_mirror(
    option: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    apt_folder: Path = Path("/etc/apt"),
) -> Mirror:
    """The option, else `$PACKAGER_DEBIAN_MIRROR`, else apt's own entry for Debian's main archive.

    Raises InputError when none of the three names one, or what was named is not http or https.
    """
    if option:
        return _named(option, "--mirror")
    if named := environ.get(_VARIABLE):
        return _named(named, f"environment variable {_VARIABLE}")
    for uri in _apt_entries(apt_folder):
        return Mirror(uri.rstrip("/"))
    raise InputError(
        "no Debian mirror is known on this machine",
        where=str(apt_folder),
        expected="the root of a Debian archive, the folder that holds dists/ and pool/",
        next_step=(
            f"name it with --mirror URL, or in the environment variable {_VARIABLE}, "
            "or add Debian's main archive to apt's sources"
        ),
    )


def _named(text: str, where: str) -> Mirror:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(
            "the Debian mirror is not an address",
            where=where,
            expected="http://HOST/PATH or https://HOST/PATH",
            got=repr(text.rpartition("@")[2][:200]),
        )
    return Mirror(text.rstrip("/"))


def _apt_entries(folder: Path) -> Iterator[str]:
    """Addresses of Debian's main archive in apt's configuration, in apt's order of reading."""
    parts = folder / "sources.list.d"
    files = [folder / "sources.list", *(sorted(parts.iterdir()) if parts.is_dir() else [])]
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # a list that this user may not read names no mirror for this user
        if file.suffix == ".list":
            yield from _one_line_entries(text)
        elif file.suffix == ".sources":
            yield from _deb822_entries(text)


def _one_line_entries(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if match := _ONE_LINE.fullmatch(line.partition("#")[0].strip()):
            suites, components = [match["suite"]], match["components"].split()
            if _is_main_archive(match["uri"], suites, components):
                yield match["uri"]


def _deb822_entries(text: str) -> Iterator[str]:
    for fields in stanzas(text):
        enabled = fields.get("enabled", "yes").lower() not in ("no", "false", "0", "off", "disable")
        if enabled and "deb" in fields.get("types", "").split():
            suites, components = fields.get("suites", "").split(), fields.get("components", "")
            for uri in fields.get("uris", "").split():
                if _is_main_archive(uri, suites, components.split()):
                    yield uri


def _is_main_archive(uri: str, suites: list[str], components: list[str]) -> bool:
    """Debian's security and backports archives and other vendors' lists are told apart."""
    parts = urlsplit(uri)
    return (
        parts.scheme in ("http", "https")
        and _MAIN_ARCHIVE.fullmatch(parts.path) is not None
        and COMPONENT in components
        and any("-" not in suite for suite in suites)
    )
