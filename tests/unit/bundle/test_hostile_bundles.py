"""Whatever else lies in the file than what follows from the signed root, it is refused in place."""

from __future__ import annotations

import random
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import entries, make_bundle, member, packed_as_is, write_entries
from small_release import SmallRelease, make_release
from tampering import PROBES, Probe

from packager.attest.verifying import verify
from packager.bundle.reading import BundleSource
from packager.errors import InputError, PackagerError, VerificationError

MEBI = 1 << 20


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def bundle(release, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "b.tar"
    make_bundle(release, path)
    return path


@pytest.fixture(scope="module")
def found(bundle):
    return entries(bundle)


def refused(release: SmallRelease, path: Path) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify(BundleSource.at(path), release.public)
    assert caught.value.exit_code == 4
    return caught.value


def told(error: PackagerError) -> str:
    return " ".join(
        str(text)
        for finding in error.findings
        for text in (finding.what, finding.where, finding.expected, finding.got)
    )


def at(found, name: str) -> int:
    return [info.name for info, _ in found].index(name)


HOSTILE = {
    "symlink": (member("evil", kind=tarfile.SYMTYPE, link="/etc/passwd"), "a symlink"),
    "hard link": (member("evil", kind=tarfile.LNKTYPE, link="release.json"), "a hard link"),
    "device": (member("evil", kind=tarfile.CHRTYPE), "a character device"),
    "block device": (member("evil", kind=tarfile.BLKTYPE), "a block device"),
    "pipe": (member("evil", kind=tarfile.FIFOTYPE), "a named pipe"),
    "folder": (member("evil", kind=tarfile.DIRTYPE), "a folder"),
    "sparse file": (member("evil", kind=tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "global header": (member("evil", b"", kind=tarfile.XGLTYPE), "a global extended header"),
    "file": (member("evil", b"extra"), "'evil'"),
    "way out": (member("../evil", b"x"), "'../evil'"),
    "absolute": (member("/evil", b"x"), "evil"),
    "twin": (member("checksums.txt", b"x"), "'checksums.txt'"),
    "contiguous file": (member("evil", kind=tarfile.CONTTYPE), "evil"),
    "unknown type": (member("evil", kind=b"V"), "evil"),
}


@pytest.mark.parametrize("place", ["oci-layout", "targets/sa/x86-64-v3/compose/workload.yaml"])
@pytest.mark.parametrize("name", HOSTILE)
def test_an_entry_too_many_is_refused_and_named(release, found, tmp_path, name, place):
    extra, words = HOSTILE[name]
    number = at(found, place)
    write_entries(tmp_path / "b.tar", [*found[:number], extra, *found[number:]])
    error = refused(release, tmp_path / "b.tar")
    assert "closed world" in error.findings[0].what
    assert words in told(error)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_entry_too_many_in_the_seal_is_refused(release, found, tmp_path, name):
    write_entries(tmp_path / "b.tar", [*found[:2], HOSTILE[name][0], *found[2:]])
    refused(release, tmp_path / "b.tar")


@pytest.mark.parametrize(
    "change",
    [
        {"mode": 0o755}, {"mode": 0o4755}, {"uid": 1}, {"gid": 1}, {"mtime": 1}, {"uname": "root"},
        {"gname": "root"}, {"linkname": "x"}, {"type": tarfile.AREGTYPE},
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["release.json", "oci-layout"])
def test_a_header_that_says_more_is_refused(release, found, tmp_path, change, place):
    number = at(found, place)
    info = tarfile.TarInfo(place)
    info.size, info.mode = found[number][0].size, 0o644
    for name, value in change.items():
        setattr(info, name, value)
    changed = [*found[:number], (info, found[number][1]), *found[number + 1 :]]
    write_entries(tmp_path / "b.tar", changed)
    refused(release, tmp_path / "b.tar")


def test_any_two_entries_changed_in_order_are_refused(release, found, tmp_path):
    chance = random.Random(5)
    for _ in range(40):
        first, second = sorted(chance.sample(range(len(found)), 2))
        if found[first][1] == found[second][1]:
            continue
        changed = list(found)
        changed[first], changed[second] = changed[second], changed[first]
        write_entries(tmp_path / "b.tar", changed)
        refused(release, tmp_path / "b.tar")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda data: data + b"\0", "1 bytes follow the end"),
        (lambda data: data + b"\0" * 10240, "10240 bytes follow the end"),
        (lambda data: data + b"PK\x03\x04", "4 bytes follow the end"),
        (lambda data: data[:-1], "the bundle ends after"),
        (lambda data: data[:-1024], "the bundle ends after"),
        (lambda data: data[: len(data) // 2], "the bundle ends after"),
        (lambda data: data[:-5] + b"x" + data[-4:], "it does not end as a tar ends"),
    ],
)
def test_the_end_is_the_end(release, bundle, tmp_path, harm, words):
    (tmp_path / "b.tar").write_bytes(harm(bundle.read_bytes()))
    assert words in told(refused(release, tmp_path / "b.tar"))


def test_every_region_of_the_file_is_covered(release, bundle, tmp_path):
    """One byte in every third block: header, data or padding, nothing is out of sight."""
    data = bundle.read_bytes()
    chance = random.Random(7)
    path = tmp_path / "b.tar"
    for block in range(512 * chance.randrange(3), len(data), 3 * 512):
        changed = bytearray(data)
        changed[block + chance.randrange(512)] ^= chance.randrange(1, 256)
        path.write_bytes(changed)
        refused(release, path)


def test_what_is_no_bundle_is_told_so(release, tmp_path):
    for data in (b"", b"x", b"\0" * 4096, b"PK\x03\x04" * 1000, b"release.json" + bytes(5000)):
        (tmp_path / "b.tar").write_bytes(data)
        assert "no bundle" in refused(release, tmp_path / "b.tar").findings[0].what
    with pytest.raises(InputError):
        BundleSource.at(tmp_path / "missing.tar")
    (tmp_path / "link.tar").symlink_to(tmp_path / "b.tar")
    with pytest.raises(InputError):
        BundleSource.at(tmp_path / "link.tar")


def test_a_header_that_claims_much_takes_no_memory(release, found, tmp_path):
    """The seal's own sizes are bounded before a byte of it is read."""
    info = tarfile.TarInfo("release.json")
    info.size, info.mode = 7 << 30, 0o644
    (tmp_path / "b.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    refused(release, tmp_path / "b.tar")


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_what_is_refused_in_a_folder_is_refused_in_a_bundle(release, found, tmp_path, probe: Probe):
    """The same harm, packed by somebody who does not check: links as links, all in good order."""
    folder = tmp_path / "release"
    shutil.copytree(release.folder, folder)
    harmed = replace(release, folder=folder)
    probe.harm(harmed)
    write_entries(tmp_path / "b.tar", packed_as_is(folder, found))
    refused(release, tmp_path / "b.tar")
