"""Docker's own names for what OCI standardized later; the bytes of a layer are the same."""

from __future__ import annotations

from packager.domain.artifact import MediaType

_DOCKER = "application/vnd.docker."
MANIFEST = f"{_DOCKER}distribution.manifest.v2+json"
INDEX = f"{_DOCKER}distribution.manifest.list.v2+json"
CONFIG = f"{_DOCKER}container.image.v1+json"

ACCEPTED = ", ".join((MediaType.INDEX, INDEX, MediaType.MANIFEST, MANIFEST))
INDEXES = frozenset({MediaType.INDEX, INDEX})
MANIFESTS = frozenset({MediaType.MANIFEST, MANIFEST})
CONFIGS = frozenset({MediaType.CONFIG, CONFIG})
LAYERS = {
    MediaType.LAYER_TAR: MediaType.LAYER_TAR,
    MediaType.LAYER_GZIP: MediaType.LAYER_GZIP,
    MediaType.LAYER_ZSTD: MediaType.LAYER_ZSTD,
    f"{_DOCKER}image.rootfs.diff.tar": MediaType.LAYER_TAR,
    f"{_DOCKER}image.rootfs.diff.tar.gzip": MediaType.LAYER_GZIP,
    f"{_DOCKER}image.rootfs.diff.tar.zstd": MediaType.LAYER_ZSTD,
}
