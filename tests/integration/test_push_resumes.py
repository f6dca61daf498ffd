"""A push whose connection is cut in the middle of a blob goes on where a real registry has it.

A cut between two pieces costs no byte twice. After one within a piece, Docker's registry (2.8)
forgets the upload: it kept a part of the piece, and no state of ours fits (`BLOB_UPLOAD_INVALID`);
the blob is sent once more. Registries that tell what they have of a piece are in
tests/unit/oci/test_chunked_upload.py.
"""

from __future__ import annotations

import os

import pytest
import requests
from engines import docker_registry
from relay import relayed
from tiny_images import REFERENCE, layout, tiny_image

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.oci import chunked_upload, registry_client
from packager.oci.layer import LayerStore
from packager.oci.registry import push

pytestmark = pytest.mark.engine

PIECE = 1 << 20
BLOB = 8 * PIECE


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(registry_client, "PIECE", PIECE)
    monkeypatch.setattr(chunked_upload, "PIECE", PIECE)


def pushed_through(tmp_path, **cuts: list[int]) -> tuple[int, int]:
    """The bytes of the layers, and those that went up, once the registry has every byte of them."""
    store = LayerStore(tmp_path / "store", SourceDateEpoch())
    image = tiny_image(store, REFERENCE, model=os.urandom(BLOB))
    folder = layout(tmp_path / "layout", store, image)
    with (
        docker_registry(tmp_path / "registry") as address,
        relayed(address, downward=False, **cuts) as (relay, through),
    ):
        pushed = push(folder, {REFERENCE: f"{through}/ml/tiny:1"})
        assert pushed[REFERENCE].endswith(f"@{image.manifest.digest}")
        assert (relay.pieces, relay.cuts) == ([], []), "the line was cut as often as asked"
        for layer in image.layers:
            name = layer.descriptor.digest
            stored = requests.get(f"http://{address}/v2/ml/tiny/blobs/{name}", timeout=10)
            assert Digest.of(stored.content) == name
    return sum(layer.descriptor.size for layer in image.layers), relay.carried


def test_after_a_cut_between_pieces_no_byte_is_sent_twice(tmp_path):
    size, sent = pushed_through(tmp_path, pieces=[2, 6, 8])
    assert sent < size + PIECE // 2


def test_after_a_cut_within_a_piece_the_blob_is_sent_once_more_at_most(tmp_path):
    size, sent = pushed_through(tmp_path, cuts=[BLOB * 3 // 8 + 1234])
    assert sent < size + BLOB * 3 // 8 + PIECE
