"""Media that fail under an installation: bad sectors, parts that are missing, swapped or stale."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from engines import missing
from site_machine import StubSite

from packager import pipeline
from packager.progress import SILENT


@pytest.fixture(scope="module")
def parts(releases, tmp_path_factory) -> Path:
    """The index of the parts of 1.0.0; four parts or more."""
    folder = tmp_path_factory.mktemp("parts") / "stick"
    release = releases["1.0.0"]
    cut = pipeline.Cut(16384, str(release.key_file))
    pipeline.bundle(release.folder, trusting(release), folder, [], SILENT, cut=cut)
    assert len(list(folder.glob("stick.part0*"))) >= 4
    return folder / "stick.parts.json"


def refused(site: StubSite, release, medium: Path, code: int, *told: str) -> None:
    done = site.install(release, medium)
    assert done.code == code, done.err + done.out
    for text in told:
        assert text in done.err
    assert not list((site.stub / "images").glob("*"))
    assert site.containers() == {}


def test_parts_are_installed_from_where_they_lie(site, releases, parts):
    before = {path.name: path.read_bytes() for path in parts.parent.iterdir()}
    done = site.install(releases["1.0.0"], parts)
    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in parts.parent.iterdir()} == before


def test_a_missing_a_swapped_and_a_stale_part_are_named(site, releases, parts, tmp_path):
    stick = tmp_path / "stick"
    shutil.copytree(parts.parent, stick)
    first, second, third = (stick / f"stick.part00{number}" for number in (1, 2, 3))
    index = stick / parts.name
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    refused(site, releases["1.0.0"], index, 4, "stick.part001", "stick.part002")
    second.write_bytes(first.read_bytes())
    first.write_bytes(kept)
    third.unlink()
    refused(site, releases["1.0.0"], index, 4, "a part is missing", "stick.part003")
    third.write_bytes(b"of another bundle")
    refused(site, releases["1.0.0"], index, 4, "not the one that was signed", "stick.part003")


def test_another_list_of_parts_is_refused(dash, releases, parts, tmp_path):
    stick = tmp_path / "stick"
    shutil.copytree(parts.parent, stick)
    listed = stick / "stick.parts.txt"
    lines = listed.read_text().splitlines(keepends=True)
    listed.write_text("".join([lines[1], lines[0], *lines[2:]]))
    refused(dash, releases["1.0.0"], stick / parts.name, 4, "list of parts")


@pytest.mark.engine
@pytest.mark.parametrize("medium", ["bundle", "folder"])
def test_a_bad_sector_is_an_error_and_nothing_is_loaded(dash, releases, tmp_path, medium):
    """A loop device whose backing file ends too early: what lies behind cannot be read."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        missing("a file system on a loop device needs root and mkfs.ext4")
    release = releases.other("heavy", weights=os.urandom(3 << 20))
    backing, stick = tmp_path / "disk", tmp_path / "stick"
    backing.write_bytes(bytes(32 << 20))
    subprocess.run(["mkfs.ext4", "-q", "-F", backing], check=True)
    stick.mkdir()
    subprocess.run(["mount", "-o", "loop", backing, stick], check=True)
    try:
        if medium == "bundle":
            make_bundle(release, stick / "release.tar")
        else:
            shutil.copytree(release.folder, stick / "release")
        biggest = max(stick.rglob("*"), key=lambda path: path.stat().st_size)
        subprocess.run(["sync", "-f", stick], check=True)
        extents = subprocess.run(
            ["filefrag", "-e", "-b4096", biggest], capture_output=True, text=True, check=True
        ).stdout
        physical = int(extents.splitlines()[3].split(":")[2].split("..")[0]) * 4096
    finally:
        subprocess.run(["umount", stick], check=True)
    assert 0 < physical < 31 << 20
    device = subprocess.run(
        ["losetup", "--find", "--show", backing], capture_output=True, text=True, check=True
    ).stdout.strip()
    os.truncate(backing, physical + (1 << 20))
    try:
        subprocess.run(["mount", "-o", "ro,noload", device, stick], check=True)
        try:
            given = stick / ("release.tar" if medium == "bundle" else "release")
            refused(dash, release, given, 4, str(given))
        finally:
            subprocess.run(["umount", stick], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)
