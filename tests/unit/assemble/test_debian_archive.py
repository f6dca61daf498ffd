"""Reading .deb files: honest ones, and those that try to get out or are cut short."""

from __future__ import annotations

import tarfile

import pytest
from tiny_packages import ar_of, deb_of, member, tar_of

from packager.archive import EntryKind
from packager.assemble.debian_archive import read_debian_archive
from packager.errors import LockError


def read(tmp_path, data):
    path = tmp_path / "thing.deb"
    path.write_bytes(data)
    return read_debian_archive(path, "thing.deb")


def content(entry):
    with entry.open() as stream:
        return stream.read()


def test_files_links_and_modes_come_with_usr_merged(tmp_path):
    archive = read(
        tmp_path,
        deb_of(
            [
                (member("./", tarfile.DIRTYPE), b""),
                (member("./lib/", tarfile.DIRTYPE), b""),
                (member("./lib/x.so.1", mode=0o4755), b"code"),
                (member("./usr/lib/x.so", tarfile.SYMTYPE, "x.so.1"), b""),
                (member("./usr/share/copy", tarfile.LNKTYPE, "./lib/x.so.1"), b""),
                (member("./bin", tarfile.SYMTYPE, "usr/bin"), b""),
            ],
            md5sums=b"0" * 32 + b"  lib/x.so.1\n",
        ),
    )
    found = {entry.path: entry for entry in archive.entries}
    assert sorted(found) == ["bin", "usr/lib/x.so", "usr/lib/x.so.1", "usr/share/copy"]
    assert content(found["usr/lib/x.so.1"]) == content(found["usr/share/copy"]) == b"code"
    assert found["usr/lib/x.so.1"].executable
    assert found["usr/share/copy"].executable
    assert (found["usr/lib/x.so"].kind, found["usr/lib/x.so"].target) == (
        EntryKind.SYMLINK,
        "x.so.1",
    )
    assert archive.control.startswith(b"Package: thing\n")
    assert archive.md5sums == {"usr/lib/x.so.1": "0" * 32}


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("/absolute"),
        member("./a/../../b"),
        member("./a//b"),
        member("./a\nb"),
        member("./link", tarfile.SYMTYPE, "../../etc/shadow"),
        member("./usr/lib/link", tarfile.SYMTYPE, "/../x"),
        member("./hard", tarfile.LNKTYPE, "./not-there"),
        member("./hard", tarfile.LNKTYPE, "../etc/passwd"),
        member("./device", tarfile.CHRTYPE),
        member("./fifo", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name!r}-{info.linkname}",
)
def test_hostile_members_are_refused(tmp_path, bad):
    with pytest.raises(LockError):
        read(tmp_path, deb_of([(bad, b"")]))


GOOD = deb_of([(member("./usr/x"), b"x" * 5000)])
PLAIN = tar_of([(member("./control"), b"Package: a\n")], "w:")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        GOOD[:30],
        GOOD[:-20],
        GOOD[:100] + b"\0" * 60 + GOOD[160:],
        ar_of([("debian-binary", b"2.0\n")]),
        ar_of([("debian-binary", b"9.0\n"), ("control.tar", PLAIN), ("data.tar", PLAIN)]),
        ar_of([("debian-binary", b"2.0\n"), ("data.tar", PLAIN), ("control.tar", PLAIN)]),
        ar_of([("debian-binary", b"2.0\n"), ("control.tar.xz", b"no xz"), ("data.tar", PLAIN)]),
        ar_of([("debian-binary", b"2.0\n"), ("control.tar", PLAIN), ("data.tar.gz", b"no gz")]),
        ar_of(
            [("debian-binary", b"2.0\n"), ("control.tar", tar_of([], "w:")), ("data.tar", PLAIN)]
        ),
    ],
    ids=range(11),
)
def test_malformed_archives_are_refused(tmp_path, data):
    with pytest.raises(LockError):
        read(tmp_path, data)


@pytest.mark.parametrize("mode", ["", ".gz", ".xz"])
def test_compressions_that_are_read(tmp_path, mode):
    data = tar_of([(member("./usr/x"), b"x")], f"w:{mode.lstrip('.')}")
    members = [("debian-binary", b"2.0\n"), ("control.tar", PLAIN), (f"data.tar{mode}", data)]
    assert [entry.path for entry in read(tmp_path, ar_of(members)).entries] == ["usr/x"]


def test_zstd_is_refused_by_name(tmp_path):
    members = [("debian-binary", b"2.0\n"), ("control.tar", PLAIN), ("data.tar.zst", b"(\xb5")]
    with pytest.raises(LockError) as caught:
        read(tmp_path, ar_of(members))
    assert caught.value.findings[0].got == "zst"


def test_every_truncation_is_refused_or_harmless(tmp_path):
    whole = [entry.path for entry in read(tmp_path, GOOD).entries]
    for length in range(0, len(GOOD) - 1, 37):
        with pytest.raises(LockError):
            read(tmp_path, GOOD[:length])
    assert whole == ["usr/x"]
