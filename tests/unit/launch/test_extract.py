"""Taking layers apart: faithful for our own, and a wall for hostile ones."""

import os
import tarfile
from dataclasses import replace

import pytest
from tiny_images import content

from packager.content import Compression
from packager.digest import Digest
from packager.errors import VerificationError
from packager.launch.extract import extract_layers

FILES = {"opt/packager/server.json": b"{}", "opt/packager/bin/tool": b"#!/bin/sh\n"}


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize("form", list(Compression))
def test_files_come_out_as_they_went_in(store, tmp_path, form):
    made = content("model", FILES, form, executable=["opt/packager/bin/tool"])
    before = os.umask(0o077)
    try:
        extract_layers([store.write(made)], tmp_path / "into")
    finally:
        os.umask(before)
    found = {
        path.relative_to(tmp_path / "into").as_posix(): path.read_bytes()
        for path in (tmp_path / "into").rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert (tmp_path / "into/opt/packager/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "into/opt/packager/server.json").stat().st_mode & 0o777 == 0o644


def test_a_later_layer_wins(store, tmp_path):
    layers = [store.write(content(kind, {"a": kind.encode()})) for kind in ("runtime", "model")]
    extract_layers(layers, tmp_path / "into")
    assert (tmp_path / "into/a").read_bytes() == b"model"


HOSTILE = {
    "absolute": member("/tmp/packager-hostile"),
    "upward": member("../outside"),
    "upward within": member("a/../../outside"),
    "symlink": member("a", tarfile.SYMTYPE, "/etc"),
    "inner symlink": member("a", tarfile.SYMTYPE, "b"),
    "hard link": member("a", tarfile.LNKTYPE, "../outside"),
    "device": member("a", tarfile.CHRTYPE),
    "pipe": member("a", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_members_are_refused(raw_layer, tmp_path, name):
    with pytest.raises(VerificationError, match="does not belong"):
        extract_layers([raw_layer((HOSTILE[name], b""))], tmp_path / "deep" / "into")
    outside = [path for path in (tmp_path / "deep").rglob("*") if path.name != "into"]
    assert outside == []


def test_a_file_where_a_folder_should_be(raw_layer, tmp_path):
    layer = raw_layer((member("a"), b"1"), (member("a/b"), b"2"))
    with pytest.raises(VerificationError, match="cannot be unpacked"):
        extract_layers([layer], tmp_path / "into")


@pytest.mark.parametrize("form", list(Compression))
def test_other_bytes_are_refused(store, tmp_path, form):
    layer = store.write(content("model", FILES, form))
    other = replace(layer, descriptor=replace(layer.descriptor, digest=Digest.of(b"other")))
    with pytest.raises(VerificationError, match="not what the signed manifest names"):
        extract_layers([other], tmp_path / "into")


def test_bytes_behind_the_archive_count(store, tmp_path):
    layer = store.write(content("model", FILES, Compression.NONE))
    longer = tmp_path / "longer"
    longer.write_bytes(layer.blob.read_bytes() + b"\0" * 512)
    with pytest.raises(VerificationError, match="not what the signed manifest names"):
        extract_layers([replace(layer, blob=longer)], tmp_path / "into")


@pytest.mark.parametrize("form", list(Compression))
def test_half_a_layer_is_refused(store, tmp_path, form):
    layer = store.write(content("model", {"a": os.urandom(50_000)}, form))
    half = tmp_path / "half"
    half.write_bytes(layer.blob.read_bytes()[:20_000])
    with pytest.raises(VerificationError):
        extract_layers([replace(layer, blob=half)], tmp_path / "into")


def test_an_unknown_form_is_refused(store, tmp_path):
    layer = store.write(content("model", FILES))
    unknown = replace(layer.descriptor, media_type="application/vnd.example")
    with pytest.raises(VerificationError, match="not read here"):
        extract_layers([replace(layer, descriptor=unknown)], tmp_path / "into")
