"""Reads an image layout from a disk that nobody vouches for.

Every descriptor is followed to its blob; size and digest are checked before a byte is parsed, and
the blobs must be plain files. All blobs that are not what their name says are told together.
Whether the *right* images are in there is not decided here: that is for the signed release.json.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, Image, Layer, MediaType, Platform
from packager.errors import Finding, VerificationError
from packager.oci.json_document import MAX_BYTES, Document, parse
from packager.oci.layer import KIND_ANNOTATION
from packager.oci.layout_writing import IMAGE_KIND, KIND, REFERENCE_NAME, TAG

_AGAIN = "get the release again from where it was built"
_COSIGN_TAG = re.compile(r"sha256-([0-9a-f]{64})\.(sig|att|sbom)")
_SMALL = 64 << 20  # artifacts (signatures, attestations) are read into memory


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout that was read and checked: its images and what accompanies them."""

    folder: Path
    images: tuple[Image, ...]
    artifacts: tuple[Artifact, ...]

    def image(self, reference: str) -> Image:
        """The image of that name; raises VerificationError when there is none."""
        for image in self.images:
            if image.reference == reference:
                return image
        raise VerificationError(
            "the image layout lacks an image",
            where=str(self.folder),
            expected=reference,
            got=", ".join(image.reference for image in self.images) or "no image at all",
        )

    def image_of(self, manifest: Digest) -> Image:
        """The image whose manifest has that digest; raises VerificationError when none has."""
        for image in self.images:
            if image.manifest.digest == manifest:
                return image
        raise VerificationError(
            "the image layout lacks an image", where=str(self.folder), expected=str(manifest)
        )

    def artifacts_of(self, image: Image) -> tuple[Artifact, ...]:
        """The signatures and attestations of one image."""
        return tuple(each for each in self.artifacts if each.subject == image.manifest.digest)


def read_layout(folder: Path, *, check_layers: bool = True) -> Layout:
    """Read and check a layout; raises VerificationError for whatever is not as it should be.

    With `check_layers` false the layers' bytes are not hashed, only their sizes compared: for
    callers that have just hashed every file, or whose next step hashes them anyway.
    """
    version = parse(_read_named(folder, "oci-layout"), "oci-layout").text("imageLayoutVersion")
    if version != "1.0.0":
        raise VerificationError(
            "the image layout is of an unknown version",
            where=str(folder / "oci-layout"),
            expected="1.0.0",
            got=version[:40],
        )
    index = parse(_read_named(folder, "index.json"), "index.json")
    images, artifacts = [], []
    for entry in index.children("manifests"):
        if entry.texts("annotations").get(KIND) == IMAGE_KIND:
            images.append(_read_image(folder, entry))
        else:
            artifacts.append(_read_artifact(folder, entry))
    _refuse_twins(folder, images)
    layers = {layer.descriptor.digest: layer for image in images for layer in image.layers}
    _check_layers(layers.values(), hashing=check_layers)
    return Layout(folder, tuple(images), tuple(artifacts))


def _read_image(folder: Path, entry: Document) -> Image:
    reference = entry.texts("annotations").get(REFERENCE_NAME, "")
    manifest_descriptor = _expect(entry, MediaType.MANIFEST)
    manifest = _read_document(folder, manifest_descriptor)
    config_descriptor = _expect(manifest.child("config"), MediaType.CONFIG)
    config = _read_document(folder, config_descriptor)
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
                blob=_blob(folder, descriptor.digest),
                created_by=line,
            )
            for descriptor, diff_id, line in zip(descriptors, diff_ids, lines, strict=True)
        ),
    )


def _read_artifact(folder: Path, entry: Document) -> Artifact:
    descriptor = _expect(entry, MediaType.MANIFEST)
    data = _read_blob(folder, descriptor, MAX_BYTES)
    manifest = parse(data, str(descriptor.digest))
    parts = [manifest.child("config"), *manifest.children("layers")]
    name = descriptor.annotations.get(TAG, "")
    tag = _COSIGN_TAG.fullmatch(name)
    subject = manifest.optional_child("subject")
    return Artifact(
        descriptor=descriptor,
        manifest=data,
        blobs=tuple(_read_part(folder, part.descriptor()) for part in parts),
        tag=name if tag else None,
        subject=subject.digest("digest") if subject else (Digest(tag[1]) if tag else None),
    )


def _read_part(folder: Path, descriptor: Descriptor) -> tuple[Digest, bytes]:
    return descriptor.digest, _read_blob(folder, descriptor, _SMALL)


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


def _read_document(folder: Path, descriptor: Descriptor) -> Document:
    return parse(_read_blob(folder, descriptor, MAX_BYTES), str(descriptor.digest))


def _read_blob(folder: Path, descriptor: Descriptor, limit: int) -> bytes:
    path = _blob(folder, descriptor.digest)
    finding = _wrong_size(path, descriptor)
    if finding is None and descriptor.size > limit:
        finding = Finding(
            "a document is too large", str(path), f"at most {limit} bytes", str(descriptor.size)
        )
    if finding is None:
        data = path.read_bytes()
        finding = None if Digest.of(data) == descriptor.digest else _wrong_bytes(path, descriptor)
    if finding:
        raise VerificationError.of([finding])
    return data


def _check_layers(layers: Iterable[Layer], *, hashing: bool) -> None:
    found = list(layers)
    findings = [_wrong_size(layer.blob, layer.descriptor) for layer in found]
    if hashing:
        sound = [layer for layer, wrong in zip(found, findings, strict=True) if wrong is None]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            findings += pool.map(_wrong_content, sound)
    if told := [finding for finding in findings if finding]:
        raise VerificationError.of(told)


def _wrong_content(layer: Layer) -> Finding | None:
    if Digest.of_file(layer.blob) == layer.descriptor.digest:
        return None
    return _wrong_bytes(layer.blob, layer.descriptor)


def _wrong_size(path: Path, descriptor: Descriptor) -> Finding | None:
    try:
        found = path.lstat()
    except OSError as error:
        return Finding(
            "a blob is missing", str(path), str(descriptor.digest), error.strerror, _AGAIN
        )
    if not stat.S_ISREG(found.st_mode):
        return Finding("a blob is not a plain file", str(path), next_step=_AGAIN)
    if found.st_size != descriptor.size:
        return Finding(
            "a blob has another size than the image says",
            str(path),
            f"{descriptor.size} bytes",
            f"{found.st_size} bytes",
            _AGAIN,
        )
    return None


def _wrong_bytes(path: Path, descriptor: Descriptor) -> Finding:
    return Finding(
        "a blob is not what its name says",
        str(path),
        str(descriptor.digest),
        "other bytes of the same length",
        _AGAIN,
    )


def _read_named(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise VerificationError("not a plain file", where=str(path), next_step=_AGAIN)
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise VerificationError(
            "this is no OCI image layout",
            where=str(path),
            expected="a folder with oci-layout, index.json and blobs/",
            got=error.strerror,
        ) from error


def _refuse_twins(folder: Path, images: list[Image]) -> None:
    names = [image.reference for image in images]
    for name in names:
        if not name or names.count(name) > 1:
            raise VerificationError(
                "the images of the layout do not each have a name of their own",
                where=str(folder / "index.json"),
                got=repr(name),
                next_step=_AGAIN,
            )


def _blob(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / "sha256" / digest.hex
