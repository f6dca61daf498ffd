"""What a site has: the small file that its installer keeps, read and never written here.

`key=value` lines; `slot=NAME VERSION RELEASE_DIGEST TARGET IMAGE ORDER` for each version; the last
line is the digest of those before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packager.digest import Digest
from packager.errors import InputError

FORMAT = "packager-site/v1"
MAX_BYTES = 1 << 20
INSTALLER = "install.sh"
# Where the files of an installed bundle stay, below its slot's folder.
STOCK = "release"


@dataclass(frozen=True, slots=True)
class Slot:
    """A version that is at the site. `image` is its ID in the engine."""

    name: str
    version: str
    release: Digest
    target: str
    image: str
    order: int


@dataclass(frozen=True, slots=True)
class SiteState:
    """`serving` is the slot in service, None when none is; `counter` the newest that ever was."""

    release: str
    newest: str
    counter: int | None
    serving: Slot | None
    slots: tuple[Slot, ...]


def read_state(home: Path) -> SiteState | None:
    """The state of `<data>/<release>/`; None when nothing was ever installed.

    The file before it is taken when it is damaged. Raises InputError when both are.
    """
    files = [home / "run" / "state", home / "run" / "state.1"]
    there = [file for file in files if file.exists()]
    for file in there:
        try:
            return parse_state(file.read_bytes())
        except (OSError, ValueError):
            continue
    if there:
        raise InputError(
            "the site's state file is damaged, and so is the one before it",
            where=str(files[0]),
            next_step="restore it from a backup, or remove it and install again",
        )
    return None


def parse_state(data: bytes) -> SiteState:
    """Raises ValueError unless it is a whole state file of this format."""
    body, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if len(data) > MAX_BYTES or last != b"sum=" + Digest.of(body).hex.encode():
        raise ValueError("the last line is not the digest of the lines before it")
    first, *lines = body.decode().splitlines()
    if first != f"format={FORMAT}":
        raise ValueError(f"not {FORMAT}")
    values: dict[str, str] = {}
    slots: list[Slot] = []
    for line in lines:
        key, equals, value = line.partition("=")
        if not equals:
            raise ValueError("a line is no key=value")
        if key == "slot":
            slots.append(_slot(value))
        else:
            values[key] = value
    counter = values.get("counter", "")
    return SiteState(
        release=values.get("release", ""),
        newest=values.get("newest", ""),
        counter=int(counter) if counter else None,
        serving=next((slot for slot in slots if slot.name == values.get("serving")), None),
        slots=tuple(sorted(slots, key=lambda slot: slot.order)),
    )


def homes(data: Path) -> tuple[Path, ...]:
    """The folders of the releases that are, or were, installed below a site's data folder."""
    return tuple(sorted(path.parent.parent for path in data.glob("*/run/state")))


def stock_of(data: Path, release: Digest) -> Path | None:
    """The files of a release that stayed at the site; None when it keeps none of that release.

    They are what they were when they were installed, or not: whoever uses them compares.
    """
    for home in homes(data):
        for root in sorted(home.glob(f"slots/*/{STOCK}/release.json")):
            if Digest.of_file(root) == release:
                return root.parent
    return None


def _slot(value: str) -> Slot:
    name, version, release, target, image, order = value.split(" ")
    return Slot(name, version, Digest.parse(f"sha256:{release}"), target, image, int(order))
