"""Layers on disk for the tests of launching."""

import io
import tarfile

import pytest

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.domain.artifact import Descriptor, Layer, MediaType
from packager.oci.layer import LayerStore


@pytest.fixture
def store(tmp_path):
    return LayerStore(tmp_path / "store", SourceDateEpoch())


@pytest.fixture
def raw_layer(tmp_path):
    """A layer of exactly the given tar members, however hostile."""

    def make(*members, kind="model"):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for member, data in members:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        blob = tmp_path / f"raw-{kind}"
        blob.write_bytes(stream.getvalue())
        digest = Digest.of_file(blob)
        size = blob.stat().st_size
        return Layer(kind, Descriptor(MediaType.LAYER_TAR, digest, size), digest, blob, "")

    return make
