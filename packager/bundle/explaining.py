"""What travels in a bundle or a delta, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from packager.bundle.composing import delta_name
from packager.bundle.document import DELTA
from packager.bundle.reading import BundleSource
from packager.bundle.recipe import MAX_RECIPE, Recipe
from packager.carrying import BLOBS, INDEX, MAX_DOCUMENT
from packager.release_source import read_bounded

_LAYER_KIND = "dev.packager.layer"


class Fate(StrEnum):
    """What happens to a file of the new release."""

    WHOLE = "whole"
    REBUILT = "rebuilt"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Line:
    """A file of the release: `size` in bytes, of which `travels` are in the bundle."""

    path: str
    what: str
    fate: Fate
    size: int
    travels: int
    why: str

    @property
    def label(self) -> str:
        """For people: a blob is what it is, since its path is a digest; else the path."""
        return self.what if self.path.startswith(BLOBS) else self.path

    def as_dict(self) -> dict[str, object]:
        return {
            "path": self.path,
            "what": self.what,
            "fate": self.fate.value,
            "size": self.size,
            "travels": self.travels,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All files, those with most bytes in the bundle first; `frame` are bytes for headers, lists
    and the seal, which always travel."""

    name: str
    version: str
    base: str | None
    size: int
    lines: tuple[Line, ...]

    @property
    def whole_size(self) -> int:
        """Bytes of the files that the release needs."""
        return sum(line.size for line in self.lines)

    @property
    def frame(self) -> int:
        return self.size - sum(line.travels for line in self.lines)

    def as_dict(self) -> dict[str, object]:
        return {
            "release": f"{self.name} {self.version}",
            "base": self.base,
            "size": self.size,
            "frame": self.frame,
            "whole": self.whole_size,
            "files": [line.as_dict() for line in self.lines],
        }


def explain(bundle: BundleSource) -> Explanation:
    """Read a bundle or a delta; its base is not needed. Raises VerificationError for no bundle."""
    document, listing = bundle.document, bundle.listing
    kinds = _kinds(bundle)
    lines = [
        Line(path, _what(path, kinds), Fate.WHOLE, member.size, member.size, "")
        for path, member in bundle.composition.paths
        if path in listing.files
    ]
    base = None
    if delta := document.delta:
        base = f"{delta.name} {delta.version}, {delta.base}"
        old = f"{delta.name} {delta.version}"
        why = f"{old} does not have it"
        lines = [
            Line(line.path, line.what, line.fate, line.size, line.travels, why) for line in lines
        ]
        for path in delta.kept:
            size = listing.files[path].size
            lines.append(
                Line(path, _what(path, kinds), Fate.KEPT, size, 0, f"{old} has the same bytes")
            )
        for each in delta.rebuilt:
            recipe = _recipe(bundle, each.path)
            size = listing.files[each.path].size
            lines.append(
                Line(
                    each.path,
                    _what(each.path, kinds),
                    Fate.REBUILT,
                    size,
                    each.recipe.size + each.data.size,
                    f"{size - recipe.new_bytes} bytes are copied from {old} in "
                    f"{sum(run.base is not None for run in recipe.runs)} runs",
                )
            )
    ordered = sorted(lines, key=lambda line: (-line.travels, -line.size, line.path))
    return Explanation(listing.name, listing.version, base, bundle.composition.size, tuple(ordered))


def _recipe(bundle: BundleSource, path: str) -> Recipe:
    name = delta_name(path, "recipe")
    with bundle.open_member(name) as stream:
        return Recipe.parse(stream.read(MAX_RECIPE + 1), f"{bundle.location}: {name}")


def _what(path: str, kinds: Mapping[str, str]) -> str:
    if path.startswith(DELTA):
        return "delta"
    if path.startswith(BLOBS):
        return kinds.get(path, "blob")
    return path.partition("/")[0]


def _kinds(bundle: BundleSource) -> dict[str, str]:
    """Blob → what its manifest says that it is: `model layer`, `configuration`, `manifest`."""
    found: dict[str, str] = {}
    for entry in json.loads(read_bounded(bundle, INDEX, MAX_DOCUMENT))["manifests"]:
        path = f"{BLOBS}{entry['digest'][7:]}"
        found[path] = "manifest"
        manifest = json.loads(read_bounded(bundle, path, MAX_DOCUMENT))
        for layer in manifest["layers"]:
            kind = layer.get("annotations", {}).get(_LAYER_KIND)
            found.setdefault(
                f"{BLOBS}{layer['digest'][7:]}",
                f"{kind} layer" if kind else "signature or attestation",
            )
        found.setdefault(f"{BLOBS}{manifest['config']['digest'][7:]}", "configuration")
    return found
