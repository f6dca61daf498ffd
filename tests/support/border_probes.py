"""The registry of the border: every probe, what it is brought as, and how each door must end.

The rows of docs/border-matrix.md are made from here (`python tests/support/border_probes.py`), and
`tests/unit/site/test_border_matrix.py` tries each cell. A row of `HARM` is a probe of the trust
issue's matrix (`tampering.py`), one of `SIGNED` a fault of `inner_faults.py`; how the others are
done stands in `border_sticks.py` and `border_sites.py`, under the same names.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inner_faults import FAULTS
from tamper_matrix import ENTRIES
from tampering import PROBES

DOORS = ("dash", "ash", "python")
MEDIA = ("folder", "bundle", "parts", "delta")
TITLES = {"dash": "`install.sh`, dash", "ash": "`install.sh`, ash", "python": "`packager install`"}
DOCUMENT = Path(__file__).parents[2] / "docs/border-matrix.md"


@dataclass(frozen=True)
class Row:
    """One probe. `code` is the exit status of every door but where `shell` says otherwise, by
    medium; `why` is a footnote of `NOTES` for that."""

    name: str
    media: tuple[str, ...]
    code: int = 4
    shell: Mapping[str, int] = field(default_factory=dict)
    why: str = ""

    def expected(self, medium: str, door: str) -> int:
        """The exit status that a door must end with."""
        return self.code if door == "python" else self.shell.get(medium, self.code)

    def cells(self) -> Iterator[tuple[str, str]]:
        """Each medium at each door."""
        return itertools.product(self.media, DOORS)


@dataclass(frozen=True)
class Group:
    """Rows of one kind; `told` says what is done."""

    title: str
    told: str
    rows: tuple[Row, ...]


NOTES = {
    "sigstore": "`install.sh` believes the raw signature that openssl checks, and the list that it "
    "binds. The same signature in sigstore's form is for others; it takes no notice of it.",
    "empty": "An empty folder holds nothing, and a tar of folders alone names no file.",
    "long": "Signed by the maker, and not longer than what the shell reads.",
    "stayed": "A bundle may leave behind what other targets need: what lacks here is the SBOM of "
    "one. The list that says so is believed by nobody (docs/bundle.md); the shell demands what "
    "this site's target needs.",
    "maker": "Signed with the maker's own key, and wrong on the inside: images, attestations and "
    "manifests are understood by `packager verify`, which a shell cannot do. It loads the one "
    "image whose digests are signed, and compares the ID that the engine gives it.",
    "serves": "Nothing is written to a stick.",
}

_SIGSTORE = {
    *("flip bundle", "truncate bundle", "bundle too long", "bundle nested", "bundle is no object"),
    *("bundle nested objects", "bundle is empty", "bundle with a key twice", "bundle with NaN"),
    *("bundle with more", "bundle of another type", "bundle with a hint of another key"),
    *("bundle in loose base64", "bundle about an envelope"),
}


def _harm(name: str) -> Row:
    media = MEDIA
    if name in _SIGSTORE:
        return Row(name, media, 4, dict.fromkeys(media, 0), "sigstore")
    if name == "add folder":
        return Row(name, media, 4, {"folder": 0}, "empty")
    if name == "root too long":
        return Row(name, media, 4, dict.fromkeys(media, 0), "long")
    if name == "remove SBOM":
        return Row(name, media, 4, dict.fromkeys(media[1:], 0), "stayed")
    return Row(name, media)


# Faults that the shell finds as well.
SHELL_FINDS = {
    *("root nested without end", "root is no object", "signer twice", "signer that did not sign"),
    *("digest of checksums", "blob missing"),
}


def _fault(name: str) -> Row:
    media = ("folder",)
    if name in SHELL_FINDS:
        return Row(name, media)
    return Row(name, media, 4, dict.fromkeys(media, 0), "maker")


_ALL = MEDIA
_WHOLE = ("folder", "bundle", "parts")
GROUPS: tuple[Group, ...] = (
    Group(
        "Harm without the key",
        "Every probe of the tamper matrix of `verify`, done to the folder, then packed by somebody "
        "who does not check: as a bundle, as parts whose own list is validly signed, as a delta.",
        tuple(_harm(probe.name) for probe in PROBES),
    ),
    Group(
        "An entry too many in a tar",
        "A member `evil`, a twin, or a name that leads out of the folder.",
        tuple(Row(name, ("bundle", "parts", "delta")) for name in ENTRIES),
    ),
    Group(
        "Parts",
        "What happens to sticks on their way.",
        tuple(
            Row(name, ("parts",))
            for name in (
                *("a part is missing", "parts in wrong order", "a part is damaged"),
                *("a part is cut short", "a part is a link", "a part of an older bundle"),
                *(
                    "the list is in another order",
                    "the index is changed",
                    "no signature of the list",
                ),
                *("the index is signed by another key", "all parts of an older release, renamed"),
            )
        ),
    ),
    Group(
        "Deltas",
        "What a delta stands on, and what it brings.",
        (
            Row("the base is another release", ("delta",)),
            Row("a file of the base is damaged", ("delta",)),
            Row("a file of the base is missing", ("delta",)),
            Row("the new bytes are damaged", ("delta",)),
            Row("the recipe is damaged", ("delta",)),
            Row("the recipe reads beyond the base", ("delta",)),
            Row("the recipe is missing", ("delta",)),
            Row("no base is here", ("delta",), 2),
            Row("a base for a whole bundle", ("bundle",), 2),
        ),
    ),
    Group(
        "The medium",
        "Real file systems on loop devices; a bad sector is a backing file that ends too early.",
        (
            Row("a bad sector", _ALL),
            Row("read-only", _ALL, 0, why="serves"),
            Row("the tar ends too early", ("bundle", "delta")),
            Row("the site's disk is full", ("bundle", "parts", "delta"), 5),
            Row("the site's disk is full when it is to switch", ("folder",), 1),
            Row("the site's disk is read-only", _ALL, 1),
        ),
    ),
    Group(
        "Not for this site",
        "A release that is as its maker signed it, and the wrong one.",
        (
            Row("another country", _WHOLE, 3),
            Row("an unknown site: a region that the target does not name", _WHOLE, 3),
            Row("a name that the site does not accept", _WHOLE, 3),
            Row("another hardware profile", _WHOLE, 3),
            Row("another architecture", _WHOLE, 3),
            Row("a processor without the instructions", _WHOLE, 3),
            Row("no accelerator", _WHOLE, 3),
            Row("an older driver", _WHOLE, 3),
            Row("an older CUDA", _WHOLE, 3),
            Row("another compute capability", _WHOLE, 3),
            Row("an older release", _WHOLE, 3),
            Row("the same version with other content", _WHOLE, 3),
            Row("the validity is over", _WHOLE, 3),
            Row("not valid yet", _WHOLE, 3),
            Row("the clock is behind", _WHOLE, 5),
            Row("too little memory", _WHOLE, 5),
            Row("too little space", _WHOLE, 5),
            Row("the port is taken", _WHOLE, 5),
            Row("the engine is down", _WHOLE, 5),
            Row("the engine is too old", _WHOLE, 5),
            Row("the engine loads another image", _WHOLE, 4),
        ),
    ),
    Group(
        "Whom the site believes",
        "The signature is good; the site says whose counts.",
        (
            Row("a key that the site does not trust", _WHOLE, 3),
            Row("the key of another maker", _WHOLE, 4),
            Row("the key is revoked here", _WHOLE, 4),
            Row("the release is revoked here", _WHOLE, 3),
            Row("two signatures are demanded", _WHOLE, 4),
            Row("no key at all", _WHOLE, 2),
            Row("no profile", _WHOLE, 2),
        ),
    ),
    Group(
        "Signed by the maker, and wrong",
        "Every fault of the tamper matrix that only whoever holds the key can make.",
        tuple(_fault(fault.name) for fault in FAULTS if not fault.contents),
    ),
)
HARM, ENTRY, PARTS, DELTA, MEDIUM, FIT, TRUST, SIGNED = GROUPS


def document() -> str:
    """docs/border-matrix.md."""
    cells = sum(len(list(row.cells())) for group in GROUPS for row in group.rows)
    lines = [
        "# What is refused at the border: probes × doors",
        "",
        "Made from the registry of the tests by `python tests/support/border_probes.py`; do not",
        f"edit. {sum(len(group.rows) for group in GROUPS)} probes, {cells} cells. Each is a test",
        "that wants exactly this exit status, something told, nothing loaded and no container",
        "(`PACKAGER_LONG=1 pytest tests/unit/site/test_border_matrix.py`; without it each probe is",
        "tried by one way, so that all ways are).",
        "",
        "0: taken · 2: the call or the profile cannot be used · 3: not for this site · 4: do not",
        "use this release · 5: something is unavailable. A number alone holds for every medium.",
    ]
    used: list[str] = []
    for group in GROUPS:
        lines += ["", f"## {group.title}", "", group.told, ""]
        lines += [f"| probe | brought as | {' | '.join(TITLES[door] for door in DOORS)} |"]
        lines += ["|---|---|---|---|---|"]
        for row in group.rows:
            if row.why and row.why not in used:
                used.append(row.why)
            mark = f" ({'abcdefghij'[used.index(row.why)]})" if row.why else ""
            shown = [_cell(row, door, mark) for door in DOORS]
            lines.append(f"| {row.name} | {', '.join(row.media)} | {' | '.join(shown)} |")
    lines += ["", "## Notes", ""]
    lines += [f"- ({letter}) {NOTES[why]}" for letter, why in zip("abcdefghij", used, strict=False)]
    return "\n".join(lines) + "\n"


def _cell(row: Row, door: str, mark: str) -> str:
    codes = {medium: row.expected(medium, door) for medium in row.media}
    noted = mark if 0 in codes.values() else ""
    if len(set(codes.values())) == 1:
        return f"{next(iter(codes.values()))}{noted}"
    return _grouped(codes) + noted


def _grouped(codes: Mapping[str, int]) -> str:
    ways: dict[int, list[str]] = {}
    for medium, code in codes.items():
        ways.setdefault(code, []).append(medium)
    return "; ".join(f"{', '.join(media)} {code}" for code, media in ways.items())


def main(words: Sequence[str]) -> int:
    """Writes the document; with `--check` says whether it is as it must be."""
    if "--check" in words:
        return int(DOCUMENT.read_text(encoding="utf-8") != document())
    DOCUMENT.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
