"""A release is verified wherever it lies: the folder, and a source that is no folder."""

from __future__ import annotations

import io
import os

import pytest
from memory_source import MemorySource
from small_release import SmallRelease, make_release

from packager.attest.verifying import verify
from packager.errors import InputError, VerificationError
from packager.release_source import FolderSource, open_plain, read_bounded


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def entries(release) -> dict[str, bytes]:
    return dict(MemorySource.of_folder(release.folder).entries)


def test_a_source_that_is_no_folder_verifies(release, entries):
    source = MemorySource(tuple(entries.items()))
    assert verify(source, release.public).digest == verify(release.folder, release.public).digest


@pytest.mark.parametrize(
    ("harm", "step"),
    [
        (lambda entries: entries.pop("release.sig"), 1),
        (lambda entries: entries.update({"release.json": entries["release.json"][:-1] + b" "}), 2),
        (lambda entries: entries.update({"more": b""}), 5),
        (lambda entries: entries.update({"../outside": b""}), 5),
        (lambda entries: entries.pop("images/index.json"), 5),
        (lambda entries: entries.update({"images/index.json": b"{}"}), 6),
        (lambda entries: entries.update({"checksums.txt": entries["checksums.txt"][:-1]}), 7),
    ],
)
def test_it_is_refused_by_the_same_steps(release, entries, harm, step):
    changed = dict(entries)
    harm(changed)
    with pytest.raises(VerificationError, match=f"step {step},"):
        verify(MemorySource(tuple(changed.items())), release.public)


def test_an_entry_that_comes_twice_is_refused(release, entries):
    twice = (*entries.items(), ("images/index.json", b"another"))
    with pytest.raises(VerificationError, match=r"step 5, .*two entries"):
        verify(MemorySource(twice), release.public)


def test_a_list_that_lies_about_a_size_is_refused(release, entries):
    """The bytes are longer than the source says: the digest of what is read decides."""

    class Lying(MemorySource):
        def open(self, path):
            data = super().open(path).read()
            return io.BytesIO(data + (b"more" if path == "images/index.json" else b""))

    with pytest.raises(VerificationError, match="step 6,"):
        verify(Lying(tuple(entries.items())), release.public)


def test_a_folder_that_cannot_be_listed_is_refused_in_words(release, monkeypatch):
    def broken(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(VerificationError, match=r"step 5, .*cannot be listed") as caught:
        verify(release.folder, release.public)
    assert caught.value.findings[0].got == "Input/output error"


def test_no_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError):
        FolderSource.at(tmp_path / "missing")


def test_only_plain_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    with open_plain(tmp_path / "file") as stream:
        assert stream.read() == b"data"
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError):
            open_plain(tmp_path / name).close()


def test_reading_is_bounded(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    assert read_bounded(FolderSource(tmp_path), "file", 4) == b"1234"
    with pytest.raises(VerificationError, match="too long"):
        read_bounded(FolderSource(tmp_path), "file", 3)
