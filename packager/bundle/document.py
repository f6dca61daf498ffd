"""`bundle.json`: what a bundle says about itself.

Nobody signs it, and nothing in it is believed: the targets that it names decide, with the signed
release, which bytes must be there, and each is compared. It ends the part of a bundle whose sizes
are read from headers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from packager.canonical import dumps
from packager.carrying import ListedFile, Listing
from packager.digest import Digest
from packager.errors import VerificationError

NAME = "bundle.json"
API_VERSION = "packager/v1"
KIND = "Bundle"
DELTA = "delta/"
# Grows when a reader of today could not follow a bundle of tomorrow.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A blob that is rebuilt from others: its path in the release, and what lies in the bundle for
    it (`delta/HEX.recipe`, `delta/HEX.data`)."""

    path: str
    recipe: ListedFile
    data: ListedFile

    def as_dict(self) -> dict[str, object]:
        return {
            "path": self.path,
            "recipe": {"digest": str(self.recipe.digest), "size": self.recipe.size},
            "data": {"digest": str(self.data.digest), "size": self.data.size},
        }


@dataclass(frozen=True, slots=True)
class Delta:
    """What a bundle leaves to an older release, `base` being the digest of its release.json.

    `kept` are paths of the new release whose bytes the old one has, under whatever path.
    """

    name: str
    version: str
    base: Digest
    kept: tuple[str, ...]
    rebuilt: tuple[Rebuilt, ...]

    def as_dict(self) -> dict[str, object]:
        return {
            "base": {"name": self.name, "version": self.version, "digest": str(self.base)},
            "kept": list(self.kept),
            "rebuilt": [each.as_dict() for each in self.rebuilt],
        }

    @classmethod
    def read(cls, found: Any) -> Delta:
        """Raises ValueError, KeyError or TypeError for anything else."""
        base = found["base"]
        return cls(
            str(base["name"]),
            str(base["version"]),
            Digest.parse(base["digest"]),
            _sorted([str(path) for path in found["kept"]]),
            tuple(
                Rebuilt(str(each["path"]), _listed(each["recipe"]), _listed(each["data"]))
                for each in found["rebuilt"]
            ),
        )


@dataclass(frozen=True, slots=True)
class BundleDocument:
    """Which release, by the digest of its release.json, and which of its targets."""

    name: str
    version: str
    digest: Digest
    targets: tuple[str, ...]
    delta: Delta | None = None

    @classmethod
    def of(
        cls, listing: Listing, targets: tuple[str, ...], delta: Delta | None = None
    ) -> BundleDocument:
        return cls(listing.name, listing.version, listing.digest, targets, delta)

    def as_bytes(self) -> bytes:
        """Canonical JSON."""
        return dumps(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "format": FORMAT,
                "release": {
                    "name": self.name,
                    "version": self.version,
                    "digest": str(self.digest),
                },
                "targets": list(self.targets),
                **({"delta": self.delta.as_dict()} if self.delta else {}),
            }
        )

    @classmethod
    def parse(cls, data: bytes, where: str) -> BundleDocument:
        """Raises VerificationError unless it is exactly a document of this format."""
        try:
            found = json.loads(data)
            document = cls._read(found)
            if document.as_bytes() != data:
                raise ValueError("not canonical, or it says more than it should")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError(
                "the bundle's own description cannot be understood",
                where=f"{where}: {NAME}",
                expected=f"kind {KIND}, format {FORMAT}",
                got=str(error)[:200],
                next_step="get the bundle again, or read it with the version that made it",
            ) from None
        return document

    @classmethod
    def _read(cls, found: Any) -> BundleDocument:
        if (found["apiVersion"], found["kind"], found["format"]) != (API_VERSION, KIND, FORMAT):
            raise ValueError(f"{found['apiVersion']} {found['kind']} {found['format']}")
        release, targets = found["release"], [str(target) for target in found["targets"]]
        if not targets:
            raise ValueError("it names no targets")
        return cls(
            str(release["name"]),
            str(release["version"]),
            Digest.parse(release["digest"]),
            _sorted(targets),
            Delta.read(found["delta"]) if "delta" in found else None,
        )


def _sorted(names: list[str]) -> tuple[str, ...]:
    if names != sorted(set(names)):
        raise ValueError("names that are not sorted, or one twice")
    return tuple(names)


def _listed(found: Any) -> ListedFile:
    size = found["size"]
    if type(size) is not int or size < 0:
        raise ValueError(f"not a size: {size!r}")
    return ListedFile(Digest.parse(found["digest"]), size)
