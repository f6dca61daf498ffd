"""Sealing: the same folder and key give the same seal, and an unfit folder gives none."""

from __future__ import annotations

import json
import os

import pytest
from small_release import make_release

from packager.attest import root
from packager.attest.keys import generate_key
from packager.attest.sealing import seal
from packager.digest import Digest
from packager.errors import OutputError


def test_two_builds_give_the_same_bytes(tmp_path):
    key = generate_key(tmp_path / "site.pem", None).private
    folders = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        (tmp_path / name).mkdir()
        old = os.umask(umask)
        try:
            folders.append(make_release(tmp_path / name, key_file=key).folder)
        finally:
            os.umask(old)
    contents = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in folders
    ]
    assert contents[0] == contents[1]


def test_the_root_names_every_file_and_binds_the_checksums(tmp_path):
    release = make_release(tmp_path)
    document = json.loads((release.folder / root.ROOT).read_bytes())
    checksums = (release.folder / root.CHECKSUMS).read_bytes()
    assert document["checksums"] == {
        "digest": str(Digest.of(checksums)),
        "size": len(checksums),
        "count": len(document["files"]),
    }
    paths = [entry["path"] for entry in document["files"]]
    assert paths == sorted(paths, key=str.encode)
    assert [line.split("  ")[1] for line in checksums.decode().splitlines()] == paths
    assert document["metadata"] == {
        "name": "filetype",
        "version": "1.4.0",
        "counter": 100004000009,
    }


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (lambda folder: (folder / "link").symlink_to("oci-layout"), "symlink"),
        (lambda folder: (folder / "a\nb").write_text(""), "name cannot stand"),
        (lambda folder: (folder / "a\\b").write_text(""), "name cannot stand"),
        (lambda folder: (folder / "EVIDENCE").mkdir(), "only in case"),
        (lambda folder: (folder / "empty").mkdir(), "empty"),
        (lambda folder: (folder / root.ROOT).write_text("{}"), "sealed already"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe"),
    ],
)
def test_an_unfit_folder_is_not_sealed(tmp_path, harm, what):
    with pytest.raises(OutputError) as caught:
        make_release(tmp_path, before_seal=lambda folder, document: harm(folder))
    assert any(what in finding.what for finding in caught.value.findings)
    assert not (tmp_path / "release" / root.BUNDLE).exists()


def test_sealing_writes_its_own_fields_itself(tmp_path):
    with pytest.raises(ValueError, match="files"):
        make_release(tmp_path, before_seal=lambda _, document: document.update(files=[]))


def test_what_verifying_would_not_understand_is_not_sealed(tmp_path):
    (tmp_path / "release").mkdir()
    signer = make_release(tmp_path / "other").signer
    with pytest.raises(ValueError, match="apiVersion"):
        seal(tmp_path / "release", {"kind": "Release"}, signer)
    assert list((tmp_path / "release").iterdir()) == []
