"""A bundle is the release: the same bytes each time, each byte decided by the signed root."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace

import pytest
from bundles import entries, make_bundle
from small_release import SmallRelease, make_release

from packager.attest.verifying import verify
from packager.bundle.reading import BundleSource
from packager.errors import OutputError, VerificationError
from packager.release_source import FolderSource


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def bundle(release, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "b.tar"
    make_bundle(release, path)
    return path


def test_a_bundle_verifies_as_the_folder_does(release, bundle):
    of_folder = verify(release.folder, release.public)
    of_bundle = verify(BundleSource.at(bundle), release.public)
    assert of_bundle.digest == of_folder.digest
    assert [step.title for step in of_bundle.steps] == [step.title for step in of_folder.steps]


def test_a_bundle_holds_every_file_of_the_folder(release, bundle):
    folder, source = FolderSource.at(release.folder), BundleSource.at(bundle)
    assert source.inventory().files == folder.inventory().files
    for path in folder.inventory().files:
        with folder.open(path) as ours, source.open(path) as theirs:
            assert ours.read() == theirs.read()


def test_ten_bundles_are_one(release, bundle, tmp_path):
    expected = hashlib.sha256(bundle.read_bytes()).hexdigest()
    for number in range(10):
        folder = tmp_path / f"at{number}" / "ä"
        shutil.copytree(release.folder, folder)
        for path in folder.rglob("*"):
            os.utime(path, (number, number))
            path.chmod(0o700)
        before = os.umask(0o077 if number % 2 else 0o002)
        try:
            make_bundle(replace(release, folder=folder), tmp_path / f"{number}.tar")
        finally:
            os.umask(before)
        found = tmp_path / f"{number}.tar"
        assert hashlib.sha256(found.read_bytes()).hexdigest() == expected
        assert found.stat().st_mode & 0o777 == 0o644


def test_metadata_comes_first_and_big_comes_last(bundle):
    names = [info.name for info, _ in entries(bundle)]
    assert names[:5] == [
        "release.json", "checksums.txt", "release.sig", "release.sigstore.json", "bundle.json",
    ]  # fmt: skip
    rest = [info.size for info, _ in entries(bundle)][names.index("manifest.json") + 1 :]
    after_targets = [
        size
        for size, name in zip(rest, names[-len(rest) :], strict=True)
        if not name.startswith("targets/")
    ]
    assert after_targets == sorted(after_targets)


def test_gnu_tar_reads_it_and_finds_plain_files_only(bundle):
    listed = subprocess.run(["tar", "-tvf", bundle], capture_output=True, text=True, check=True)
    assert listed.stderr == ""
    assert {line[:10] for line in listed.stdout.splitlines()} == {"-rw-r--r--"}


def test_a_changed_file_makes_no_bundle(release, tmp_path):
    folder = tmp_path / "release"
    shutil.copytree(release.folder, folder)
    layer = release.built[0].image.layers[1].descriptor.digest
    path = folder / "images/blobs/sha256" / layer.hex
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        make_bundle(replace(release, folder=folder), tmp_path / "b.tar")
    assert layer.hex in str(caught.value.findings[0].where)
    assert not (tmp_path / "b.tar").exists()


def test_nothing_is_overwritten(release, tmp_path):
    (tmp_path / "b.tar").write_text("mine")
    with pytest.raises(OutputError):
        make_bundle(release, tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_text() == "mine"
