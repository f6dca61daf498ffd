"""One image of a layout as a tar, on the fly: an OCI archive that `docker load` takes as well.

A pipe stands between the tar writer and the reader, so an image of any size passes through constant
memory and never lies on the disk a second time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from packager.archive import Entry, EntryKind
from packager.canonical import dumps
from packager.digest import CHUNK
from packager.domain.artifact import Descriptor, Image, MediaType
from packager.oci.layout_reading import Layout, StoredBlob, blob_name
from packager.oci.layout_writing import docker_entry, index_entry
from packager.oci.tar_sink import write_tar_to


def image_entries(layout: Layout, image: Image) -> list[Entry]:
    """The members of a layout that holds nothing but `image`."""
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
