"""One image of a layout as a tar, on the fly: an OCI archive that `docker load` takes as well.

A pipe stands between the tar writer and the reader, so an image of any size passes through constant
memory and never lies on the disk a second time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO, cast

from packager.archive import Entry, EntryKind
from packager.canonical import dumps
from packager.decompression import DAMAGE, plain
from packager.digest import CHUNK
from packager.domain.artifact import Descriptor, Image, Layer, MediaType
from packager.errors import VerificationError
from packager.oci.layout_reading import Layout, StoredBlob, blob_name
from packager.oci.layout_writing import docker_entry, index_entry
from packager.oci.tar_sink import write_tar_to


def image_entries(layout: Layout, image: Image, *, zstd: bool = True) -> list[Entry]:
    """The members of a layout that holds nothing but `image`.

    Without `zstd`, layers in that form are unpacked, for a Docker engine before 23; what is left is
    a docker-archive, since the manifest names the compressed layers.
    """
    if not zstd and any(_is_zstd(layer) for layer in image.layers):
        return _docker_archive(layout, image)
    documents = {
        "oci-layout": {"imageLayoutVersion": "1.0.0"},
        "index.json": {
            "schemaVersion": 2,
            "mediaType": MediaType.INDEX,
            "manifests": [index_entry(image).as_dict()],
        },
        "manifest.json": [docker_entry(image)],
    }
    descriptors = {
        descriptor.digest: descriptor
        for descriptor in (
            image.manifest,
            image.config,
            *(layer.descriptor for layer in image.layers),
        )
    }
    return [
        *(Entry.of_bytes(name, dumps(document)) for name, document in documents.items()),
        *(_blob_entry(layout, descriptor) for descriptor in descriptors.values()),
    ]


def _is_zstd(layer: Layer) -> bool:
    return layer.descriptor.media_type == MediaType.LAYER_ZSTD


def _docker_archive(layout: Layout, image: Image) -> list[Entry]:
    """What `docker save` wrote before there were OCI layouts: the image's ID stays the same."""
    layers = [_plain_entry(layout, layer) for layer in image.layers]
    document = {**docker_entry(image), "Layers": [entry.path for entry in layers]}
    members = {entry.path: entry for entry in (_blob_entry(layout, image.config), *layers)}
    return [Entry.of_bytes("manifest.json", dumps([document])), *members.values()]


def _plain_entry(layout: Layout, layer: Layer) -> Entry:
    """A layer unpacked while it is read; once more to learn its size, which a tar says first."""
    blob = StoredBlob(layout.files, layer.descriptor.digest)

    def opened() -> BinaryIO:
        return cast(BinaryIO, _Unpacked(blob.open(), layer.descriptor))

    try:
        with opened() as stream:
            size = sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK), b""))
    except DAMAGE as error:
        raise VerificationError(
            f"the {layer.kind} layer cannot be unpacked",
            where=str(layer.descriptor.digest),
            got=str(error)[:200],
            next_step="get the release again from where it was built",
        ) from error
    return Entry(blob_name(layer.diff_id), EntryKind.FILE, size, open=opened)


class _Unpacked:
    """A blob unpacked while it is read. Closes the blob too, which the unpackers leave open."""

    def __init__(self, blob: BinaryIO, descriptor: Descriptor) -> None:
        self._blob = blob
        self._plain = plain(blob, descriptor.media_type, descriptor.size) or blob

    def read(self, size: int = -1) -> bytes:
        return self._plain.read(size)

    def __enter__(self) -> _Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self._plain.close()
        self._blob.close()


def _blob_entry(layout: Layout, descriptor: Descriptor) -> Entry:
    blob = StoredBlob(layout.files, descriptor.digest)
    name = blob_name(descriptor.digest)
    return Entry(name, EntryKind.FILE, descriptor.size, open=blob.open)


def tar_chunks(entries: list[Entry]) -> Iterator[bytes]:
    """The tar of `entries`, piece by piece. Raises what reading the entries raised."""
    readable, writable = os.pipe()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with os.fdopen(writable, "wb") as stream:
                write_tar_to(stream, entries)
        except BrokenPipeError:
            pass  # the reader went away and knows why
        except Exception as error:
            failures.append(error)

    writer = threading.Thread(target=write, name="image-archive", daemon=True)
    with os.fdopen(readable, "rb", buffering=0) as stream:
        writer.start()
        while chunk := stream.read(CHUNK):
            yield chunk
    writer.join()
    if failures:
        raise failures[0]
