"""A base image: pinned by digest, brought into the cache, and read only after its digest was right.

The order is index, manifest, configuration, layers: each is hashed and compared with what named it
before a byte of it is parsed, and the first one is what the lock pins. Layers stay as they came,
compressed or not, so that a registry that has the base already takes not one byte of it again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.artifact import Descriptor, Layer, Platform
from packager.domain.base import BaseLayers
from packager.domain.lock import LockedBase, LockedBaseImage
from packager.domain.release import BaseImage
from packager.errors import Finding, LockError, VerificationError
from packager.oci.base_download import BaseBlobs
from packager.oci.base_source import BaseSource, open_base
from packager.oci.docker_media_types import CONFIGS, INDEXES, LAYERS, MANIFESTS
from packager.oci.json_document import MAX_BYTES, Document, parse
from packager.oci.layer import KIND_ANNOTATION
from packager.progress import Progress

MAX_LAYERS = 100  # engines stop at about 127, and ours come on top
_VARIANTS = {"arm64": ("", "v8"), "amd64": ("", "v1")}
_NOT_TAKEN = (
    "Cmd",
    "Entrypoint",
    "ExposedPorts",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
)


def digest_of(base: BaseImage) -> Digest:
    """What stands under the name now. Raises InputError, UnavailableError."""
    with open_base(base) as source:
        return Digest.of(_top(source, base))


def pin_base(base: BaseImage, architectures: Collection[str], progress: Progress) -> LockedBase:
    """Look the base up, and bring its documents and layers for `architectures` into the cache.

    Raises LockError when the base is none, is another than `base.digest`, or has no image for one
    of the architectures; InputError and UnavailableError when it cannot be had.
    """
    with open_base(base) as source, telling(base):
        top = _top(source, base)
        digest = Digest.of(top)
        images = tuple(
            LockedBaseImage(name, _manifest_of(top, digest, name, base))
            for name in sorted(architectures)
        )
        locked = LockedBase(base.name, digest, images)
        blobs = BaseBlobs.in_cache(progress)
        if digest in {image.manifest for image in images}:
            blobs.keep(top)
        for image in images:
            _layers_of(locked, image, base, blobs, source)
    return locked


def fetch_base(
    locked: LockedBase, base: BaseImage, architecture: str, progress: Progress
) -> BaseLayers:
    """The base for one architecture. With a filled cache nothing outside is asked.

    Raises LockError for bytes that are not the locked ones, UnavailableError when they are missing
    and cannot be had.
    """
    image = next((one for one in locked.images if one.architecture == architecture), None)
    if image is None:
        raise LockError(
            "the lock does not pin the base for this architecture",
            where=locked.name,
            expected=architecture,
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    blobs = BaseBlobs.in_cache(progress)
    with telling(base):
        try:
            return _layers_of(locked, image, base, blobs, None)
        except _Missing:
            pinned = replace(base, digest=str(image.manifest))
            with open_base(pinned) as source:
                return _layers_of(locked, image, base, blobs, source)


class _Missing(Exception):
    """The cache does not have it."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Blobs from the cache, else from `source`; None for a source stands for no source at all."""

    blobs: BaseBlobs
    source: BaseSource | None

    def manifest(self, digest: Digest) -> bytes:
        if self.blobs.holds(digest):
            return self.blobs.path(digest).read_bytes()
        data = self._source().document(digest)
        _compare(digest, data)
        self.blobs.keep(data)
        return data

    def path(self, descriptor: Descriptor, what: str) -> Path:
        if not self.blobs.holds(descriptor.digest, descriptor.size):
            self.blobs.bring(descriptor, self._source(), what)
        return self.blobs.path(descriptor.digest)

    def _source(self) -> BaseSource:
        if self.source is None:
            raise _Missing
        return self.source


def _layers_of(
    locked: LockedBase,
    image: LockedBaseImage,
    base: BaseImage,
    blobs: BaseBlobs,
    source: BaseSource | None,
) -> BaseLayers:
    reader = _Reader(blobs, source)
    manifest = parse(reader.manifest(image.manifest), str(image.manifest))
    config = _read_config(reader, manifest, image.architecture)
    descriptors = [_layer(entry) for entry in manifest.children("layers")]
    blobs.look_at(descriptors)
    diff_ids = config.child("rootfs").digests("diff_ids")
    if len(descriptors) != len(diff_ids) or not 0 < len(descriptors) <= MAX_LAYERS:
        raise _unfit(
            "the base's layers are not as many as its configuration says, or too many",
            str(image.manifest),
            f"{len(diff_ids)} layers, at most {MAX_LAYERS}",
            str(len(descriptors)),
        )
    layers = tuple(
        Layer(
            kind=f"base-{number}",
            descriptor=replace(descriptor, annotations={KIND_ANNOTATION: f"base-{number}"}),
            diff_id=diff_id,
            blob=reader.path(descriptor, f"base layer {number} of {len(descriptors)}"),
            created_by=f"base {base.name}, {image.manifest}: layer {number}",
        )
        for number, (descriptor, diff_id) in enumerate(
            zip(descriptors, diff_ids, strict=True), start=1
        )
    )
    return BaseLayers(locked.name, locked.digest, image.manifest, layers, _not_taken(config))


def _read_config(reader: _Reader, manifest: Document, architecture: str) -> Document:
    descriptor = manifest.child("config").descriptor()
    if descriptor.media_type not in CONFIGS or descriptor.size > MAX_BYTES:
        raise _unfit(
            "the base is no container image",
            manifest.where,
            "an image configuration",
            descriptor.media_type[:120],
        )
    data = reader.path(descriptor, "base configuration").read_bytes()
    config = parse(data, str(descriptor.digest))
    found = Platform(config.text("os"), config.text("architecture"), config.text("variant", ""))
    if not _fits(found, architecture):
        raise _unfit(
            "the base is for another platform",
            str(descriptor.digest),
            f"linux/{architecture}",
            str(found),
        )
    return config


def _layer(entry: Document) -> Descriptor:
    found = entry.descriptor()
    if found.media_type not in LAYERS or "urls" in entry.values:
        raise _unfit(
            "the base has a layer of a kind that cannot be carried",
            entry.where,
            "a tar, plain or compressed by gzip or zstd",
            found.media_type[:120],
        )
    return Descriptor(LAYERS[found.media_type], found.digest, found.size)


def _not_taken(config: Document) -> tuple[str, ...]:
    settings = config.values.get("config")
    if not isinstance(settings, dict):
        return ()
    named = [name for name in _NOT_TAKEN if settings.get(name)]
    variables = settings.get("Env")
    if isinstance(variables, list):
        named += [f"Env.{str(one).partition('=')[0][:100]}" for one in variables[:1000]]
    return tuple(sorted(named))


def _manifest_of(top: bytes, digest: Digest, architecture: str, base: BaseImage) -> Digest:
    """The digest of the manifest for an architecture; of `top` itself when it is one."""
    document = parse(top, str(digest))
    kind = document.text("mediaType", "")
    if kind in MANIFESTS or "manifests" not in document.values:
        return digest
    if kind and kind not in INDEXES:
        raise _unfit("the base is neither image nor index", str(base), None, kind[:120])
    offered = []
    for entry in document.children("manifests"):
        found = entry.descriptor()
        if found.media_type in MANIFESTS and found.platform:
            offered.append(str(found.platform))
            if _fits(found.platform, architecture):
                return found.digest
    raise _unfit(
        "the base has no image for this platform",
        base.name,
        f"linux/{architecture}",
        ", ".join(offered)[:300] or "none",
    )


def _fits(platform: Platform, architecture: str) -> bool:
    return (
        platform.os == "linux"
        and platform.architecture == architecture
        and platform.variant in _VARIANTS.get(architecture, ("",))
    )


def _top(source: BaseSource, base: BaseImage) -> bytes:
    data = source.top()
    if base.digest:
        _compare(Digest.parse(base.digest), data)
    return data


def _compare(digest: Digest, data: bytes) -> None:
    if len(data) > MAX_BYTES or Digest.of(data) != digest:
        raise _unfit(
            "the base is not the one that was named by digest",
            None,
            str(digest),
            str(Digest.of(data)) if len(data) <= MAX_BYTES else f"more than {MAX_BYTES} bytes",
        )


def _unfit(what: str, where: str | None, expected: str | None, got: str | None) -> LockError:
    return LockError(
        what,
        where=where,
        expected=expected,
        got=got,
        next_step="name another base, or pin it anew: packager lock",
    )


@contextmanager
def telling(base: BaseImage) -> Iterator[None]:
    """What is wrong in a document of the base is told as the base's fault, not a release's."""
    try:
        yield
    except VerificationError as error:
        raise LockError.of(
            [
                Finding(
                    f"the base {base.name} cannot be used: {finding.what}",
                    finding.where,
                    finding.expected,
                    finding.got,
                    "name another base, or get it again from its maker",
                )
                for finding in error.findings
            ]
        ) from error
