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
from packager.carrying import Listing
from packager.digest import Digest
from packager.errors import VerificationError

NAME = "bundle.json"
API_VERSION = "packager/v1"
KIND = "Bundle"
# Grows when a reader of today could not follow a bundle of tomorrow.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class BundleDocument:
    """Which release, by the digest of its release.json, and which of its targets."""

    name: str
    version: str
    digest: Digest
    targets: tuple[str, ...]

    @classmethod
    def of(cls, listing: Listing, targets: tuple[str, ...]) -> BundleDocument:
        return cls(listing.name, listing.version, listing.digest, targets)

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
        if not targets or targets != sorted(set(targets)):
            raise ValueError("the targets are none, not sorted, or named twice")
        return cls(
            str(release["name"]),
            str(release["version"]),
            Digest.parse(release["digest"]),
            tuple(targets),
        )
