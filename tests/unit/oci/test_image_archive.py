"""One image as a tar on the fly: a layout of its own, in constant memory, failing aloud."""

import io
import tarfile
import threading
from dataclasses import replace

import pytest
from tiny_images import REFERENCE, SETTINGS, content, layout, signature, tiny_image

from packager.archive import Entry, EntryKind
from packager.canonical import SourceDateEpoch
from packager.content import Compression
from packager.domain.artifact import Platform
from packager.oci.image import write_image
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layout import read_layout

OTHER = "registry.example.sa/ml/tiny:1.0.0-sa"


def test_the_archive_is_a_layout_of_one_image(tmp_path, store):
    images = tiny_image(store), tiny_image(store, OTHER)
    folder = layout(tmp_path / "all", store, *images, artifacts=[signature(images[0])])
    found = read_layout(folder)
    data = b"".join(tar_chunks(image_entries(found, found.image(OTHER))))
    assert data == b"".join(tar_chunks(image_entries(found, found.image(OTHER))))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "one", filter="data")
    alone = read_layout(tmp_path / "one")
    assert [image.reference for image in alone.images] == [OTHER]
    assert alone.images[0].manifest == images[1].manifest
    assert alone.artifacts == ()
    assert REFERENCE.encode() not in data


def test_what_reading_raises_is_raised():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(tar_chunks([Entry("a", EntryKind.FILE, 9, open=Broken)]))


def test_a_reader_that_leaves_takes_the_writer_with_it():
    before = threading.active_count()
    large = Entry.of_bytes("a", bytes(8 << 20))
    chunks = tar_chunks([large])
    next(chunks)
    chunks.close()
    for thread in threading.enumerate():
        if thread.name == "image-archive":
            thread.join(10)
    assert threading.active_count() == before


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_unpacking_for_an_old_engine_leaves_no_file_open(tmp_path, store, compression):
    layers = [
        store.write(content("system", {"probe": b"#!/bin/sh\n" * 999}, Compression.ZSTD)),
        store.write(content("model", {"opt/model.onnx": b"weights" * 999}, compression)),
    ]
    platform = Platform("linux", "amd64")
    image = write_image(layers, SETTINGS, platform, REFERENCE, SourceDateEpoch(), store.blobs)
    found = read_layout(layout(tmp_path / "all", store, image))
    opened = []

    class Watched:
        location = found.files.location

        def open(self, path):
            opened.append(found.files.open(path))
            return opened[-1]

    watched = replace(found, files=Watched())
    assert b"".join(tar_chunks(image_entries(watched, watched.images[0], zstd=False)))
    assert opened
    assert all(stream.closed for stream in opened)
