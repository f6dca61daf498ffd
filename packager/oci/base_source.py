"""Where a base image is read from: a registry, an OCI layout, or an archive of either tool.

All three give the same three things: the document that stands under the name, documents by digest,
and blobs by digest from any offset. Nothing that they give is believed here; whoever asks compares
the digest first.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.domain.release import BaseImage
from packager.errors import InputError
from packager.oci.docker_archive import synthesized_layout
from packager.oci.docker_media_types import ACCEPTED
from packager.oci.json_document import MAX_BYTES
from packager.oci.layout_reading import blob_name
from packager.oci.registry_client import Repository
from packager.oci.registry_reading import ImageName, RemoteBody
from packager.oci.tar_files import TarFiles
from packager.release_source import Files, FolderSource, read_bounded


class BaseSource(Protocol):
    """One base, wherever it lies."""

    def top(self) -> bytes:
        """The index or manifest that the name stands for."""

    def document(self, digest: Digest) -> bytes:
        """An index or a manifest, at most one byte more than `MAX_BYTES`."""

    def blob(self, digest: Digest, offset: int) -> contextlib.AbstractContextManager[BaseStream]:
        """A blob from `offset` on, or from its start when it cannot be had from there."""


@dataclass(frozen=True, slots=True)
class BaseStream:
    """Bytes of a blob, the first of them at `offset`. Read with `read1`, so that what arrived
    before a connection broke is not lost."""

    stream: io.BufferedIOBase
    offset: int


@contextmanager
def open_base(base: BaseImage) -> Iterator[BaseSource]:
    """The source of `base`, whose `digest` says what is asked for when it is known.

    Raises InputError for a name or file that is none, UnavailableError for a registry.
    """
    if base.reference is None:
        raise ValueError("no base")
    digest = Digest.parse(base.digest) if base.digest else None
    if base.path is None:
        name = ImageName.parse(base.reference)
        with Repository(name.reference, writing=False) as repository:
            yield RegistryBase(repository, name, digest)
    elif base.path.is_dir():
        yield LayoutBase(FolderSource.at(base.path), digest)
    else:
        with TarFiles.opened(base.path) as archive:
            layout: Files = archive
            if not archive.has("index.json"):
                layout = synthesized_layout(archive)
            yield LayoutBase(layout, digest)


@dataclass(frozen=True, slots=True)
class RegistryBase:
    """A base in a registry, by digest when it is known, else by tag."""

    repository: Repository
    name: ImageName
    digest: Digest | None

    def top(self) -> bytes:
        return self._document(f"manifests/{self.digest or self.name.key}")

    def document(self, digest: Digest) -> bytes:
        return self._document(f"manifests/{digest}")

    @contextmanager
    def blob(self, digest: Digest, offset: int) -> Iterator[BaseStream]:
        answer = self.repository.open(
            f"blobs/{digest}", (200, 206), "application/octet-stream", offset
        )
        with contextlib.closing(answer):
            start = offset if answer.status_code == 206 else 0
            body = RemoteBody.buffered(answer, self.name.repository)
            yield BaseStream(cast(io.BufferedIOBase, body), start)

    def _document(self, path: str) -> bytes:
        answer = self.repository.open(path, (200,), ACCEPTED)
        with contextlib.closing(answer):
            return RemoteBody.buffered(answer, self.name.repository).read(MAX_BYTES + 1)


@dataclass(frozen=True, slots=True)
class LayoutBase:
    """A base in an OCI image layout (image-spec, "OCI Image Layout"), in a folder or a tar."""

    files: Files
    digest: Digest | None

    def top(self) -> bytes:
        index = read_bounded(self.files, "index.json", MAX_BYTES)
        if self.digest == Digest.of(index):
            return index
        return self.document(self.digest) if self.digest else self._only(index)

    def document(self, digest: Digest) -> bytes:
        return read_bounded(self.files, blob_name(digest), MAX_BYTES)

    @contextmanager
    def blob(self, digest: Digest, offset: int) -> Iterator[BaseStream]:
        try:
            stream = self.files.open(blob_name(digest))
        except OSError as error:
            raise InputError(
                "the base lacks a blob that it names",
                where=f"{self.files.location}/{blob_name(digest)}",
                got=error.strerror or str(error),
                next_step="copy it again, with all its blobs: skopeo copy",
            ) from error
        with stream:
            stream.seek(offset)
            yield BaseStream(cast(io.BufferedIOBase, stream), offset)

    def _only(self, index: bytes) -> bytes:
        """What the index names; the index itself when its entries are one image's platforms."""
        try:
            entries = [one for one in json.loads(index)["manifests"] if _is_image(one)]
            platforms = [json.dumps(one.get("platform"), sort_keys=True) for one in entries]
            if len(entries) == 1:
                return self.document(Digest.parse(entries[0]["digest"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                "this is no image layout that can be a base",
                where=f"{self.files.location}/index.json",
                got=f"{type(error).__name__}: {error}"[:200],
            ) from error
        if not entries or "null" in platforms or len(set(platforms)) != len(platforms):
            raise InputError(
                "the layout holds more images than one" if entries else "the layout is empty",
                where=f"{self.files.location}/index.json",
                expected="one image, or one for each platform",
                got=", ".join(str(one["digest"]) for one in entries)[:400] or None,
                next_step="name the one that you mean: PATH@sha256:…",
            )
        return index


def _is_image(entry: dict[str, object]) -> bool:
    """Not a signature or an attestation: those have no platform that anything runs on."""
    platform = cast(dict[str, str], entry.get("platform") or {})
    kinds = (MediaType.MANIFEST, MediaType.INDEX, *ACCEPTED.split(", "))
    return entry.get("mediaType") in kinds and platform.get("os") != "unknown"
