"""Reads an image layout from a disk that nobody vouches for.

Every descriptor is followed to its blob; size and digest are checked before a byte is parsed, and
the blobs must be plain files. All blobs that are not what their name says are told together.
Whether the *right* images are in there is not decided here: that is for the signed release.json.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from packager.digest import CHUNK, Digest
from packager.domain.artifact import (
    Artifact,
    Descriptor,
    Image,
    Layer,
    MediaType,
    Openable,
    Platform,
)
from packager.errors import Finding, VerificationError
from packager.oci.json_document import MAX_BYTES, Document, parse
from packager.oci.layer import KIND_ANNOTATION
from packager.oci.layout_writing import IMAGE_KIND, KIND, REFERENCE_NAME, TAG
from packager.release_source import Files, FolderSource

_AGAIN = "get the release again from where it was built"
_COSIGN_TAG = re.compile(r"sha256-([0-9a-f]{64})\.(sig|att|sbom)")
_SMALL = 64 << 20  # artifacts (signatures, attestations) are read into memory


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that was read and checked: its images and what accompanies them."""

    files: Files
    images: tuple[Image, ...]
    artifacts: tuple[Artifact, ...]

    def image(self, reference: str) -> Image:
        """The image of that name; raises VerificationError when there is none."""
        for image in self.images:
            if image.reference == reference:
                return image
        raise VerificationError(
            "the image layout lacks an image",
            where=self.files.location,
            expected=reference,
            got=", ".join(image.reference for image in self.images) or "no image at all",
        )

    def image_of(self, manifest: Digest) -> Image:
        """The image whose manifest has that digest; raises VerificationError when none has."""
        for image in self.images:
            if image.manifest.digest == manifest:
                return image
        raise VerificationError(
            "the image layout lacks an image", where=self.files.location, expected=str(manifest)
        )

    def artifacts_of(self, image: Image) -> tuple[Artifact, ...]:
        """The signatures and attestations of one image."""
        return tuple(each for each in self.artifacts if each.subject == image.manifest.digest)


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob of a layout that is no folder."""

    files: Files
    digest: Digest

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:  # noqa: ARG002 - as a Path
        return self.files.open(blob_name(self.digest))

    def __str__(self) -> str:
        return f"{self.files.location}/{blob_name(self.digest)}"


def blob_name(digest: Digest) -> str:
    """Where a blob lies in a layout."""
    return f"blobs/sha256/{digest.hex}"


def read_layout(layout: Files | Path, *, check_layers: bool = True) -> Layout:
    """Read and check a layout, in a folder or elsewhere.

    Raises VerificationError for whatever is not as it should be.

    With `check_layers` false the layers' bytes are not hashed, only their sizes compared: for
    callers that have just hashed every file, or whose next step hashes them anyway.
    """
    files = FolderSource(layout) if isinstance(layout, Path) else layout
    version = parse(_read_named(files, "oci-layout"), "oci-layout").text("imageLayoutVersion")
    if version != "1.0.0":
        raise VerificationError(
            "the image layout is of an unknown version",
            where=f"{files.location}/oci-layout",
            expected="1.0.0",
            got=version[:40],
        )
    index = parse(_read_named(files, "index.json"), "index.json")
    images, artifacts = [], []
    for entry in index.children("manifests"):
        if entry.texts("annotations").get(KIND) == IMAGE_KIND:
            images.append(_read_image(files, entry))
        else:
            artifacts.append(_read_artifact(files, entry))
    _refuse_twins(files, images)
    layers = {layer.descriptor.digest: layer for image in images for layer in image.layers}
    _check_layers(files, layers.values(), hashing=check_layers)
    return Layout(files, tuple(images), tuple(artifacts))


def _read_image(files: Files, entry: Document) -> Image:
    reference = entry.texts("annotations").get(REFERENCE_NAME, "")
    manifest_descriptor = _expect(entry, MediaType.MANIFEST)
    manifest = _read_document(files, manifest_descriptor)
    config_descriptor = _expect(manifest.child("config"), MediaType.CONFIG)
    config = _read_document(files, config_descriptor)
    descriptors = [layer.descriptor() for layer in manifest.children("layers")]
    diff_ids = config.child("rootfs").digests("diff_ids")
    if len(diff_ids) != len(descriptors):
        raise VerificationError(
            "an image's manifest and configuration do not belong together",
            where=str(manifest_descriptor.digest),
            expected=f"{len(descriptors)} layers",
            got=f"{len(diff_ids)} layers in the configuration",
            next_step=_AGAIN,
        )
    history = config.children("history") if "history" in config.values else []
    lines = [line.text("created_by", "") for line in history]
    if len(lines) != len(descriptors):
        lines = [""] * len(descriptors)
    return Image(
        reference=reference,
        platform=Platform(
            config.text("os"), config.text("architecture"), config.text("variant", "")
        ),
        manifest=replace(manifest_descriptor, annotations={}, platform=None),
        config=config_descriptor,
        layers=tuple(
            Layer(
                kind=descriptor.annotations.get(KIND_ANNOTATION, ""),
                descriptor=descriptor,
                diff_id=diff_id,
                blob=_blob(files, descriptor.digest),
                created_by=line,
            )
            for descriptor, diff_id, line in zip(descriptors, diff_ids, lines, strict=True)
        ),
    )


def _read_artifact(files: Files, entry: Document) -> Artifact:
    if entry.text("mediaType") == MediaType.INDEX:
        return _read_index(files, entry)
    descriptor = _expect(entry, MediaType.MANIFEST)
    data = _read_blob(files, descriptor, MAX_BYTES)
    manifest = parse(data, str(descriptor.digest))
    parts = [manifest.child("config"), *manifest.children("layers")]
    name = descriptor.annotations.get(TAG, "")
    tag = _COSIGN_TAG.fullmatch(name)
    subject = manifest.optional_child("subject")
    return Artifact(
        descriptor=descriptor,
        manifest=data,
        blobs=tuple(_read_part(files, part.descriptor()) for part in parts),
        tag=name if tag else None,
        subject=subject.digest("digest") if subject else (Digest(tag[1]) if tag else None),
    )


def _read_index(files: Files, entry: Document) -> Artifact:
    """An index over images of the layout: whether these are the right ones, the root says."""
    descriptor = _expect(entry, MediaType.INDEX)
    data = _read_blob(files, descriptor, MAX_BYTES)
    for member in parse(data, str(descriptor.digest)).children("manifests"):
        _read_document(files, _expect(member, MediaType.MANIFEST))
    return Artifact(descriptor, data, ())


def _read_part(files: Files, descriptor: Descriptor) -> tuple[Digest, bytes]:
    return descriptor.digest, _read_blob(files, descriptor, _SMALL)


def _expect(entry: Document, media_type: str) -> Descriptor:
    descriptor = entry.descriptor()
    if descriptor.media_type != media_type:
        raise VerificationError(
            "a document of the image layout is of another type than it should be",
            where=entry.where,
            expected=media_type,
            got=descriptor.media_type[:120],
            next_step=_AGAIN,
        )
    return descriptor


def _read_document(files: Files, descriptor: Descriptor) -> Document:
    return parse(_read_blob(files, descriptor, MAX_BYTES), str(descriptor.digest))


def _read_blob(files: Files, descriptor: Descriptor, limit: int) -> bytes:
    blob = StoredBlob(files, descriptor.digest)
    finding = _wrong_size(blob, descriptor)
    if finding is None and descriptor.size > limit:
        finding = Finding(
            "a document is too large", str(blob), f"at most {limit} bytes", str(descriptor.size)
        )
    if finding is None:
        with blob.open() as stream:
            data = stream.read(descriptor.size + 1)
        finding = None if Digest.of(data) == descriptor.digest else _wrong_bytes(blob, descriptor)
    if finding:
        raise VerificationError.of([finding])
    return data


def _check_layers(files: Files, layers: Iterable[Layer], *, hashing: bool) -> None:
    found = [(StoredBlob(files, layer.descriptor.digest), layer.descriptor) for layer in layers]
    findings = [_wrong_size(blob, descriptor) for blob, descriptor in found]
    if hashing:
        sound = [each for each, wrong in zip(found, findings, strict=True) if wrong is None]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            findings += pool.map(lambda each: _wrong_content(*each), sound)
    if told := [finding for finding in findings if finding]:
        raise VerificationError.of(told)


def _wrong_content(blob: StoredBlob, descriptor: Descriptor) -> Finding | None:
    with blob.open() as stream:
        found = Digest.of_chunks(iter(lambda: stream.read(CHUNK), b""))
    return None if found == descriptor.digest else _wrong_bytes(blob, descriptor)


def _wrong_size(blob: StoredBlob, descriptor: Descriptor) -> Finding | None:
    try:
        with blob.open() as stream:
            size = stream.seek(0, os.SEEK_END)
    except FileNotFoundError as error:
        return Finding(
            "a blob is missing", str(blob), str(descriptor.digest), error.strerror, _AGAIN
        )
    except OSError as error:
        return Finding(
            "a blob is not a plain file", str(blob), got=error.strerror, next_step=_AGAIN
        )
    if size != descriptor.size:
        return Finding(
            "a blob has another size than the image says",
            str(blob),
            f"{descriptor.size} bytes",
            f"{size} bytes",
            _AGAIN,
        )
    return None


def _wrong_bytes(blob: StoredBlob, descriptor: Descriptor) -> Finding:
    return Finding(
        "a blob is not what its name says",
        str(blob),
        str(descriptor.digest),
        "other bytes of the same length",
        _AGAIN,
    )


def _read_named(files: Files, name: str) -> bytes:
    try:
        with files.open(name) as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise VerificationError(
            "this is no OCI image layout",
            where=f"{files.location}/{name}",
            expected="a folder with oci-layout, index.json and blobs/",
            got=error.strerror or str(error),
        ) from error


def _refuse_twins(files: Files, images: list[Image]) -> None:
    names = [image.reference for image in images]
    for name in names:
        if not name or names.count(name) > 1:
            raise VerificationError(
                "the images of the layout do not each have a name of their own",
                where=f"{files.location}/index.json",
                got=repr(name),
                next_step=_AGAIN,
            )


def _blob(files: Files, digest: Digest) -> Openable:
    """A file where the layout is a folder, so that what reads files can read it."""
    if isinstance(files, FolderSource):
        return files.folder / blob_name(digest)
    return StoredBlob(files, digest)
