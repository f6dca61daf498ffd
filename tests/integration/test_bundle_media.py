"""Media that fail: a full stick, one that is read-only, one whose sectors cannot be read.

Real file systems on loop devices; a bad sector is a backing file that ends too early.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from engines import missing
from small_release import SmallRelease, build_targets, make_release
from weights import initializers

from packager import pipeline
from packager.digest import Digest
from packager.errors import OutputError, VerificationError
from packager.progress import SILENT

pytestmark = pytest.mark.engine

MEBI = 1 << 20


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    weights = b"".join(initializers(8 * MEBI))
    build = partial(build_targets, weights=weights)
    return make_release(tmp_path_factory.mktemp("release"), build=build)


@pytest.fixture(scope="module")
def bundle(release, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "b.tar"
    make_bundle(release, path)
    return path


@contextlib.contextmanager
def stick(folder: Path, mebibytes: int) -> Iterator[tuple[Path, Path]]:
    """An ext4 file system on a loop device: where it is mounted, and the file behind it."""
    if os.geteuid() != 0:
        missing("mounting a loop device needs root")
    for tool in ("mkfs.ext4", "losetup"):
        if not shutil.which(tool):
            missing(f"{tool} is not installed")
    image, mounted = folder / "stick.img", folder / "stick"
    mounted.mkdir()
    with image.open("wb") as stream:
        stream.truncate(mebibytes * MEBI)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True)
    done = subprocess.run(
        ["mount", "-o", "loop", image, mounted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"no loop device can be mounted here: {done.stderr}")
    try:
        yield mounted, image
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def test_a_full_stick_is_told_and_room_lets_it_go_on(release, bundle, tmp_path):
    with stick(tmp_path, 16) as (mounted, _):
        room = mounted / "in-the-way"
        room.write_bytes(bytes(8 * MEBI))
        with pytest.raises(OutputError) as caught:
            make_bundle(release, mounted / "b.tar")
        assert "full" in caught.value.findings[0].what
        assert not (mounted / "b.tar").exists()
        room.unlink()
        make_bundle(release, mounted / "b.tar")
        assert Digest.of_file(mounted / "b.tar") == Digest.of_file(bundle)
        assert {path.name for path in mounted.iterdir()} == {"b.tar", "lost+found"}


def test_a_read_only_stick_is_told(release, tmp_path):
    with stick(tmp_path, 16) as (mounted, _):
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        with pytest.raises(OutputError) as caught:
            make_bundle(release, mounted / "b.tar")
        assert "read-only" in caught.value.findings[0].what


def test_a_bundle_is_verified_on_a_read_only_stick(release, bundle, tmp_path):
    with stick(tmp_path, 16) as (mounted, _):
        shutil.copyfile(bundle, mounted / "b.tar")
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        assert pipeline.verify(mounted / "b.tar", trusting(release), SILENT)


@pytest.mark.parametrize("what", ["bundle", "parts", "base"])
def test_a_bad_sector_is_refused_and_named(release, bundle, tmp_path, what):
    """Nothing comes out, and the message says which file could not be read."""
    with stick(tmp_path, 32) as (mounted, image):
        path = mounted / "b.tar"
        if what == "parts":
            cut = pipeline.Cut(MEBI, str(release.key_file))
            path = mounted / "parts"
            pipeline.bundle(bundle, trusting(release), path, [], SILENT, cut)
        else:
            shutil.copyfile(bundle, path)
        subprocess.run(["sync", "-f", mounted], check=True)
        where = _near_the_end(path if path.is_file() else path / "parts.part006")
        os.truncate(image, where)
        Path("/proc/sys/vm/drop_caches").write_text("1")
        with pytest.raises(VerificationError) as caught:
            if what == "base":
                make_bundle_of(path, release, tmp_path / "again.tar")
            else:
                pipeline.verify(path, trusting(release), SILENT)
        told = " ".join(str(finding.as_dict()) for finding in caught.value.findings)
        assert "read" in told
        assert "Input/output error" in told
        assert ("parts.part006" in told) == (what == "parts")
        assert not (tmp_path / "again.tar").exists()


def make_bundle_of(path: Path, release: SmallRelease, output: Path) -> None:
    pipeline.bundle(path, trusting(release), output, [], SILENT)


def _near_the_end(path: Path) -> int:
    """A byte of the device within the file's extent that lies last on it, and not its first."""
    done = subprocess.run(
        ["filefrag", "-v", "-b4096", path], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()[:1].isdigit()]
    ends = [int(line.split(":")[2].split("..")[1]) for line in lines]
    return (max(ends) - 20) * 4096
