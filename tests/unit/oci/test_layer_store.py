"""The store: a layer is written once, found again by its key, and believed only by its digest."""

import errno
import io
import multiprocessing
import os
import subprocess
import sys
import tarfile
import time
from dataclasses import replace

import pytest
from tiny_images import content

from packager.archive import Entry, EntryKind
from packager.canonical import SourceDateEpoch
from packager.content import Compression
from packager.decompression import plain
from packager.digest import Digest
from packager.errors import OutputError
from packager.oci.layer import KIND_ANNOTATION, LayerStore

FILES = {f"usr/share/{name}": name.encode() * 5000 for name in ("a", "b", "ü", "z" * 120)}
FORMS = list(Compression)


def unreadable():
    raise AssertionError("the entries were asked for")


@pytest.mark.parametrize("form", FORMS)
def test_the_layer_says_what_it_is(store, form):
    layer = store.write(content("model", FILES, form))
    assert Digest.of_file(layer.blob) == layer.descriptor.digest
    assert layer.blob.stat().st_size == layer.descriptor.size
    assert layer.descriptor.annotations == {KIND_ANNOTATION: "model"}
    assert (layer.kind, layer.created_by) == ("model", "packager: model")
    with layer.blob.open("rb") as blob:
        plain_bytes = plain(blob, layer.descriptor.media_type, layer.descriptor.size).read()
    assert Digest.of(plain_bytes) == layer.diff_id
    with tarfile.open(fileobj=io.BytesIO(plain_bytes)) as archive:
        names = [member.name for member in archive if member.isfile()]
        assert names == sorted(FILES, key=str.encode)
    if form is Compression.NONE:
        assert layer.diff_id == layer.descriptor.digest
    if form is Compression.GZIP:
        stock = subprocess.run(["gzip", "-dc", layer.blob], capture_output=True, check=True)
        assert stock.stdout == plain_bytes


@pytest.mark.parametrize("form", FORMS)
def test_same_bytes_in_another_order_umask_and_store(tmp_path, form):
    first = LayerStore(tmp_path / "1", SourceDateEpoch()).write(content("system", FILES, form))
    before = os.umask(0o077)
    try:
        backward = dict(reversed(FILES.items()))
        second = LayerStore(tmp_path / "2", SourceDateEpoch()).write(
            content("system", backward, form)
        )
    finally:
        os.umask(before)
    assert second.descriptor == first.descriptor
    assert second.diff_id == first.diff_id
    assert second.blob.stat().st_mode & 0o777 == 0o644


def test_a_known_layer_is_not_made_again(store, tmp_path):
    known = content("system", FILES)
    first = store.write(known)
    again = replace(known, entries=unreadable)
    assert store.write(again) == first
    assert LayerStore(tmp_path / "store", SourceDateEpoch()).write(again) == first


def test_the_epoch_is_part_of_the_layer(tmp_path):
    layers = [
        LayerStore(tmp_path, SourceDateEpoch(seconds)).write(content("system", FILES))
        for seconds in (0, 1_767_225_600)
    ]
    assert layers[0].diff_id != layers[1].diff_id


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "removed", "a link"])
def test_a_damaged_blob_is_written_anew(store, tmp_path, damage, same_process):
    layer = store.write(content("system", FILES))
    whole = layer.blob.read_bytes()
    match damage:
        case "flipped":
            layer.blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        case "truncated":
            layer.blob.write_bytes(whole[:-1])
        case "removed":
            layer.blob.unlink()
        case "a link":
            (tmp_path / "elsewhere").write_bytes(whole)
            layer.blob.unlink()
            layer.blob.symlink_to(tmp_path / "elsewhere")
    using = store if same_process else LayerStore(tmp_path / "store", SourceDateEpoch())
    assert using.write(content("system", FILES)) == layer
    assert layer.blob.read_bytes() == whole
    assert not layer.blob.is_symlink()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"digest":1}', b"\xff", b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_as_good_as_none(store, tmp_path, text):
    layer = store.write(content("system", FILES))
    (record,) = (tmp_path / "store" / "records").iterdir()
    record.write_bytes(text)
    assert store.write(content("system", FILES)) == layer


@pytest.mark.parametrize("form", FORMS)
def test_a_failure_in_the_middle_leaves_nothing(store, tmp_path, form):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.ENOSPC, "No space left on device")

    broken = Entry("z", EntryKind.FILE, 9, open=Broken)
    whole = content("system", FILES, form)
    with pytest.raises(OutputError, match="disk is full"):
        store.write(replace(whole, entries=lambda: [*whole.entries(), broken]))
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert store.write(whole).blob.exists()


KILLED = """
import os, sys, time
from pathlib import Path
from packager.oci.blobs import BlobFolder
with BlobFolder(Path(sys.argv[1])).incoming() as blob:
    blob.write(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_scratch_of_a_killed_writer_is_swept_and_of_a_living_one_is_not(tmp_path):
    folder = tmp_path / "store" / "blobs"
    writer = subprocess.Popen([sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"writing\n"
        LayerStore(tmp_path / "store", SourceDateEpoch())
        assert len(list((folder / "sha256").iterdir())) == 1, "a living writer's file was swept"
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    store = LayerStore(tmp_path / "store", SourceDateEpoch())
    assert list((folder / "sha256").iterdir()) == []
    assert store.write(content("system", FILES)).blob.exists()


def _write(folder, start, results):
    store = LayerStore(folder, SourceDateEpoch())
    while time.time() < start:
        pass
    results.put(str(store.write(content("system", FILES)).descriptor.digest))


def test_several_processes_at_a_time_agree(tmp_path):
    spawn = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    results = spawn.Queue()
    start = time.time() + 0.5
    writers = [spawn.Process(target=_write, args=(tmp_path, start, results)) for _ in range(4)]
    for writer in writers:
        writer.start()
    told = {results.get(timeout=60) for _ in writers}
    for writer in writers:
        writer.join()
    (digest,) = told
    (blob,) = (tmp_path / "blobs" / "sha256").iterdir()
    assert str(Digest.of_file(blob)) == digest == f"sha256:{blob.name}"
