"""A repository of a registry in memory, with everything that a push puts there; a test harms it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Image, MediaType
from packager.oci.layout import read_layout
from packager.oci.reference import Reference
from packager.oci.registry import referrer_entry


@dataclass
class MemoryRegistry:
    """`manifests` by tag and digest, `blobs` and `referrers` by digest; what it gives is whatever
    stands there, right or wrong, as a registry that an enemy runs."""

    location: str
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    index: dict[str, bytes] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, images: Path, image: Image) -> MemoryRegistry:
        """What `push` puts into the repository of `image`."""
        reference = Reference.parse(image.reference)
        made = cls(f"{reference.host}/{reference.repository}")
        blobs = images / "blobs/sha256"
        for descriptor in (image.config, *(layer.descriptor for layer in image.layers)):
            made.blobs[str(descriptor.digest)] = (blobs / descriptor.digest.hex).read_bytes()
        manifest = (blobs / image.manifest.digest.hex).read_bytes()
        made.manifests |= {str(image.manifest.digest): manifest, reference.tag: manifest}
        entries = []
        for artifact in read_layout(images).artifacts_of(image):
            made.blobs |= {str(digest): data for digest, data in artifact.blobs}
            made.manifests[artifact.tag or str(artifact.descriptor.digest)] = artifact.manifest
            if not artifact.tag:
                entries.append(referrer_entry(artifact))
        document = {"schemaVersion": 2, "mediaType": MediaType.INDEX, "manifests": entries}
        made.index[str(image.manifest.digest)] = dumps(document)
        return made

    def manifest(self, name: str, limit: int) -> bytes | None:
        self.read.append(name)
        found = self.manifests.get(name)
        return None if found is None else found[: limit + 1]

    def referrers(self, digest: Digest, limit: int) -> bytes | None:
        found = self.index.get(str(digest))
        return None if found is None else found[: limit + 1]

    @contextmanager
    def blob(self, digest: Digest) -> Iterator[BinaryIO]:
        self.read.append(str(digest))
        yield io.BytesIO(self.blobs.get(str(digest), b""))

    def edit(self, name: str, change) -> None:
        """Change the JSON of a manifest."""
        document = json.loads(self.manifests[name])
        change(document)
        self.manifests[name] = json.dumps(document).encode()
