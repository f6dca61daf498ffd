"""`packager diff`: two releases, or two renderings, target by target and in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager import pipeline
from packager.bundle.opening import open_source
from packager.catalogue import Catalogue, load_catalogue
from packager.domain.jurisdiction import Demand
from packager.domain.trust import TrustFiles
from packager.errors import InputError
from packager.progress import Progress
from packager.release_source import ReleaseSource
from packager.render.comparing import Comparison, compare

ROOT = "release.json"
TARGETS = "targets"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its targets' files by path; `document` is release.json, if it has one."""

    where: str
    targets: Mapping[str, Mapping[str, bytes]]
    document: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class TargetDifference:
    """A target that is on both sides. `refused_by` are rules that forbid what was opened."""

    target: str
    comparison: Comparison
    refused_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs; `release` are lines on the release itself."""

    release: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    targets: tuple[TargetDifference, ...]

    @property
    def refused(self) -> bool:
        return any(one.refused_by for one in self.targets)

    def as_dict(self) -> dict[str, Any]:
        return {
            "release": list(self.release),
            "added": list(self.added),
            "removed": list(self.removed),
            "targets": [
                {
                    "target": one.target,
                    "changes": [change.as_dict() for change in one.comparison.changes],
                    "opened": list(one.comparison.opened),
                    "closed": list(one.comparison.closed),
                    "refused_by": list(one.refused_by),
                }
                for one in self.targets
            ],
        }


def differ(
    old: Path, new: Path, trust: TrustFiles | None, targets: Path | None, progress: Progress
) -> Difference:
    """Compare two releases (folders or bundles) or renderings (`packager render -o`).

    With `trust`, releases are verified first. Raises InputError for a path that is neither.
    """
    before, after = (_side(path, trust, progress) for path in (old, new))
    catalogue = load_catalogue(targets)
    found = []
    for name in sorted(before.targets.keys() & after.targets.keys()):
        comparison = compare(before.targets[name], after.targets[name])
        if comparison:
            forbidding = _forbidding(catalogue, name) if comparison.opened else ()
            found.append(TargetDifference(name, comparison, forbidding))
    return Difference(
        release=_release(before.document, after.document),
        added=tuple(sorted(after.targets.keys() - before.targets.keys())),
        removed=tuple(sorted(before.targets.keys() - after.targets.keys())),
        targets=tuple(found),
    )


def _side(path: Path, trust: TrustFiles | None, progress: Progress) -> Side:
    if path.is_dir() and not (path / ROOT).exists():
        return Side(str(path), _grouped(_rendering(path)), None)
    if trust:
        pipeline.verify(path, trust, progress)
    source = open_source(path)
    with source.open(ROOT) as stream:
        document = json.loads(stream.read())
    listed = [str(file["path"]) for file in document["files"]]
    wanted = [name for name in listed if name.startswith(f"{TARGETS}/")]
    return Side(str(path), _grouped(_read(source, wanted)), document)


def _rendering(folder: Path) -> dict[str, bytes]:
    root = folder / TARGETS
    if not root.is_dir():
        raise InputError(
            "neither a release nor a rendering",
            where=str(folder),
            expected="a folder or bundle of `packager build`, or what `packager render -o` wrote",
            next_step="name the folder that holds release.json, or the one that holds targets/",
        )
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _read(source: ReleaseSource, paths: list[str]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        try:
            with source.open(path) as stream:
                found[path] = stream.read()
        except FileNotFoundError:  # a bundle that carries some targets only
            continue
    return found


def _grouped(files: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """jurisdiction/hardware/platform → path within it → bytes."""
    grouped: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        parts = path.split("/")
        if len(parts) > 4:
            grouped.setdefault("/".join(parts[1:4]), {})["/".join(parts[4:])] = data
    return grouped


def _forbidding(catalogue: Catalogue, target: str) -> tuple[str, ...]:
    """The rules of a target's jurisdiction that deny egress."""
    name = target.partition("/")[0]
    if name not in catalogue.jurisdiction_ids():
        return ()
    place = catalogue.jurisdiction(name)
    return tuple(
        f"{place.owner.get(rule.id, name)}/{rule.id}"
        for rule in place.rules
        if rule.demand is Demand.EGRESS_DENIED
    )


def _release(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> tuple[str, ...]:
    if old is None or new is None:
        return ()
    told = []
    for what, keys in (
        ("name", ("metadata", "name")),
        ("version", ("metadata", "version")),
        ("model", ("model", "digest")),
        ("licence", ("model", "license")),
        ("data class", ("data", "class")),
        ("packager", ("tool", "version")),
        ("lock", ("lock", "digest")),
    ):
        one, two = (side[keys[0]][keys[1]] for side in (old, new))
        if one != two:
            told.append(f"{what} {one} → {two}")
    told += _models(old, new)
    before, after = ({one["name"]: one for one in side["targets"]} for side in (old, new))
    for name in sorted(before.keys() & after.keys()):
        one, two = before[name], after[name]
        for what in ("candidate", "precision"):
            if one["model"][what] != two["model"][what]:
                told.append(f"{name}: {what} {one['model'][what]} → {two['model'][what]}")
        if one["image"]["size"] != two["image"]["size"]:
            told.append(f"{name}: image {one['image']['size']} → {two['image']['size']} bytes")
    return tuple(told)


def _models(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the models of two releases of which one has several."""
    if "models" not in old and "models" not in new:
        return []
    before, after = (
        {
            f"{one['name']}/{one.get('version', '1')}": one
            for one in side.get("models", [side["model"]])
        }
        for side in (old, new)
    )
    told = [f"model {name} is gone" for name in sorted(before.keys() - after.keys())]
    told += [f"model {name} is new" for name in sorted(after.keys() - before.keys())]
    for name in sorted(before.keys() & after.keys()):
        one, two = before[name], after[name]
        told += [
            f"model {name}: {what} {one.get(what)} → {two.get(what)}"
            for what in ("digest", "license", "origin")
            if what in one and what in two and one[what] != two[what]
        ]
        told += [
            f"{target}: model {name}: {what} {chosen[what]} → {two['chosen'][target][what]}"
            for target, chosen in sorted(one.get("chosen", {}).items())
            for what in ("candidate", "precision")
            if target in two.get("chosen", {}) and chosen[what] != two["chosen"][target][what]
        ]
    return told
