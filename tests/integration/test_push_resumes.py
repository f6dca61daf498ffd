"""A push whose connection is cut in the middle of a blob goes on where a real registry has it.

A cut between two pieces costs no byte twice. After one within a piece, Docker's registry (2.8)
forgets the upload: it kept a part of the piece, and no state of ours fits (`BLOB_UPLOAD_INVALID`);
the blob is sent once more. Registries that tell what they have of a piece are in
tests/unit/oci/test_chunked_upload.py.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import requests
from engines import docker_registry
from tiny_images import REFERENCE, layout, tiny_image

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.oci import chunked_upload, registry_client
from packager.oci.layer import LayerStore
from packager.oci.registry import push

pytestmark = pytest.mark.engine

PIECE = 1 << 20
BLOB = 8 * PIECE


@dataclass
class Cutter:
    """A relay to a registry that counts what goes up and cuts the line: before the pieces with
    these numbers, and at these counts of bytes."""

    upstream: tuple[str, int]
    pieces: list[int]
    counts: list[int]
    up: int = 0
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.upstream) as server:
            down = threading.Thread(target=_copy, args=(server, client), daemon=True)
            down.start()
            with contextlib.suppress(OSError):
                while (data := client.recv(65536)) and not self.cuts_before(data):
                    server.sendall(data)
                    if self.cuts_after(len(data)):
                        break
            for end in (server, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            down.join(10)

    def cuts_before(self, data: bytes) -> bool:
        with self.lock:
            self.seen += data.startswith(b"PATCH ")
            if self.pieces and self.seen >= self.pieces[0]:
                self.pieces.pop(0)
                return True
        return False

    def cuts_after(self, count: int) -> bool:
        with self.lock:
            self.up += count
            if self.counts and self.up >= self.counts[0]:
                self.counts.pop(0)
                return True
        return False


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextlib.contextmanager
def cut_off(
    address: str, pieces: Sequence[int] = (), counts: Sequence[int] = ()
) -> Iterator[tuple[Cutter, str]]:
    host, _, port = address.partition(":")
    cutter = Cutter((host, int(port)), list(pieces), list(counts))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=cutter.serve, args=(listener,), daemon=True)
        serving.start()
        try:
            yield cutter, f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    serving.join(10)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(registry_client, "PIECE", PIECE)
    monkeypatch.setattr(chunked_upload, "PIECE", PIECE)


def pushed_through(tmp_path, **cuts: Sequence[int]) -> tuple[int, int]:
    """The bytes of the layers, and those that went up, once the registry has every byte of them."""
    store = LayerStore(tmp_path / "store", SourceDateEpoch())
    image = tiny_image(store, REFERENCE, model=os.urandom(BLOB))
    folder = layout(tmp_path / "layout", store, image)
    with (
        docker_registry(tmp_path / "registry") as address,
        cut_off(address, **cuts) as (cutter, through),
    ):
        pushed = push(folder, {REFERENCE: f"{through}/ml/tiny:1"})
        assert pushed[REFERENCE].endswith(f"@{image.manifest.digest}")
        assert (cutter.pieces, cutter.counts) == ([], []), "the line was cut as often as asked"
        for layer in image.layers:
            name = layer.descriptor.digest
            stored = requests.get(f"http://{address}/v2/ml/tiny/blobs/{name}", timeout=10)
            assert Digest.of(stored.content) == name
    return sum(layer.descriptor.size for layer in image.layers), cutter.up


def test_after_a_cut_between_pieces_no_byte_is_sent_twice(tmp_path):
    size, sent = pushed_through(tmp_path, pieces=[2, 6, 8])
    assert sent < size + PIECE // 2


def test_after_a_cut_within_a_piece_the_blob_is_sent_once_more_at_most(tmp_path):
    size, sent = pushed_through(tmp_path, counts=[BLOB * 3 // 8 + 1234])
    assert sent < size + BLOB * 3 // 8 + PIECE
