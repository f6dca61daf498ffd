"""`docker save` of before version 25, read as an image layout.

Such an archive has no OCI manifest: a list names a configuration and plain tars of layers. Its
manifest is written here, canonically, so that the same image gives the same digest wherever and
whenever it was saved.
"""

from __future__ import annotations

import io
import json
from typing import BinaryIO

from packager.canonical import dumps
from packager.digest import CHUNK, Digest
from packager.domain.artifact import Descriptor, MediaType
from packager.errors import InputError
from packager.oci.json_document import MAX_BYTES
from packager.oci.layout_reading import blob_name
from packager.release_source import Files, read_bounded

_MAX_LAYERS = 127


class _Synthesized:
    """The archive with the documents that it lacks, and its blobs under their digests."""

    def __init__(self, files: Files, documents: dict[str, bytes], names: dict[str, str]) -> None:
        self._files = files
        self._documents = documents
        self._names = names

    @property
    def location(self) -> str:
        return self._files.location

    def open(self, path: str) -> BinaryIO:
        if path in self._documents:
            return io.BytesIO(self._documents[path])
        return self._files.open(self._names.get(path, path))


def synthesized_layout(files: Files) -> Files:
    """Raises InputError for an archive that is none, or that holds several images."""
    try:
        entries = json.loads(read_bounded(files, "manifest.json", MAX_BYTES))
        (entry,) = entries
        names = [str(entry["Config"]), *(str(name) for name in entry["Layers"])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            "the archive is not one image",
            where=f"{files.location}: manifest.json",
            expected="what `docker save ONE_IMAGE` or `skopeo copy … oci-archive:FILE` writes",
            got=f"{type(error).__name__}: {error}"[:200],
            next_step="save the one image that is the base",
        ) from error
    if len(names) > _MAX_LAYERS:
        raise InputError("the base has too many layers", where=files.location)
    found = [_hashed(files, name) for name in names]
    config, *layers = (
        Descriptor(kind, digest, size)
        for kind, (digest, size) in zip(
            [MediaType.CONFIG, *[MediaType.LAYER_TAR] * (len(names) - 1)], found, strict=True
        )
    )
    manifest = dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": config.as_dict(),
            "layers": [layer.as_dict() for layer in layers],
        }
    )
    top = Descriptor(MediaType.MANIFEST, Digest.of(manifest), len(manifest))
    documents = {
        "index.json": dumps({"schemaVersion": 2, "manifests": [top.as_dict()]}),
        blob_name(top.digest): manifest,
    }
    by_digest = {blob_name(digest): name for name, (digest, _) in zip(names, found, strict=True)}
    return _Synthesized(files, documents, by_digest)


def _hashed(files: Files, name: str) -> tuple[Digest, int]:
    try:
        with files.open(name) as stream:
            digest = Digest.of_chunks(iter(lambda: stream.read(CHUNK), b""))
            return digest, stream.tell()
    except OSError as error:
        raise InputError(
            "the archive lacks a file that it names",
            where=f"{files.location}: {name[:200]}",
            got=error.strerror or str(error),
        ) from error
