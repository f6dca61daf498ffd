"""What an operator is given: releases by version, and the media that they come on."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from real_site import RealSite
from site_machine import Done
from small_release import SmallRelease


@dataclass
class Stick:
    """Releases by version; an answer shows the factor of its version: 1.0 → 1, 1.1 → 2, …

    `media` are what the operator is given of each: a bundle, parts, a delta.
    """

    folder: Path
    releases: dict[str, SmallRelease]
    media: dict[str, Path]

    def install(self, site: RealSite, version: str, medium: Path | None = None) -> Done:
        return site.run("install", self.releases[version], medium or self.media[version])


def corrupted(stick: Stick, version: str) -> Path:
    """A bundle of the version with one flipped bit, in the middle of its biggest file."""
    file = stick.folder / "corrupted.tar"
    shutil.copy(stick.media[version], file)
    with tarfile.open(file, "r:") as archive:
        biggest = max(archive, key=lambda member: member.size)
        at = biggest.offset_data + biggest.size // 2
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))
    return file
