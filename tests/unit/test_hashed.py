"""What this process has hashed is not read again, and what changed since is."""

import os

import pytest

from packager import hashed
from packager.digest import Digest
from packager.hashed import digest_once, known_digest, remember


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def reads(monkeypatch):
    seen = []
    read = Digest.of_file

    class Counting(Digest):
        @classmethod
        def of_file(cls, path):
            seen.append(path)
            return read(path)

    monkeypatch.setattr(hashed, "Digest", Counting)
    return seen


def test_once_and_also_under_another_name(file, reads, tmp_path):
    assert digest_once(file) == Digest.of(b"first")
    assert known_digest(file) == Digest.of(b"first")
    os.link(file, tmp_path / "linked")
    assert digest_once(tmp_path / "linked") == digest_once(file)
    assert reads == [file]


def test_what_was_written_to_is_read_again(file, reads):
    digest_once(file)
    found = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert known_digest(file) is None
    assert digest_once(file) == Digest.of(b"other")
    file.write_bytes(b"longer than before")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert known_digest(file) is None
    assert len(reads) == 2


def test_another_file_in_its_place_is_another_file(file, tmp_path):
    digest_once(file)
    found = file.stat()
    beside = tmp_path / "beside"
    beside.write_bytes(b"other")
    os.utime(beside, ns=(found.st_atime_ns, found.st_mtime_ns))
    beside.replace(file)
    assert known_digest(file) is None


def test_links_folders_and_nothing_are_never_known(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    remember(file, Digest.of(b"first"))
    for path in (link, tmp_path, tmp_path / "none"):
        remember(path, Digest.of(b"first"))
        assert known_digest(path) is None
    assert digest_once(link) == Digest.of(b"first"), "read, and not remembered"
    with pytest.raises(OSError, match="none"):
        digest_once(tmp_path / "none")
