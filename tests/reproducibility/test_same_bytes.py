"""Same inputs and lock, same bytes: whatever the folder, time zone, umask, locale or hash seed."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.network


def build(source: Path, output: Path, key: Path, *, umask: int, env: dict[str, str]) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "packager",
            "build",
            source / "release.yaml",
            "--key",
            key,
            "-o",
            output,
            "-q",
        ],
        check=True,
        env={**os.environ, **env},
        preexec_fn=lambda: os.umask(umask) and None,
        capture_output=True,
    )


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("umask", "env"),
    [
        (0o077, {"TZ": "Asia/Riyadh", "PYTHONHASHSEED": "1", "LC_ALL": "C"}),
        (0o000, {"TZ": "America/Santiago", "PYTHONHASHSEED": "4242", "LC_ALL": "C.UTF-8"}),
    ],
)
def test_another_build_gives_the_same_release_byte_for_byte(release, tmp_path, umask, env):
    elsewhere = tmp_path / "an other place"
    shutil.copytree(release.source, elsewhere)
    # An empty layer store: every layer is made again, not taken from the first build.
    cache = tmp_path / "cache"
    shutil.copytree(_inputs(), cache / "inputs")
    build(
        elsewhere,
        tmp_path / "out",
        release.key,
        umask=umask,
        env=env | {"PACKAGER_CACHE": str(cache)},
    )
    assert files(tmp_path / "out") == files(release.folder)
    _, differing, unreadable = filecmp.cmpfiles(
        release.folder, tmp_path / "out", files(release.folder), shallow=False
    )
    assert differing == []
    assert unreadable == []


def test_another_epoch_gives_another_release(release, tmp_path):
    build(
        release.source,
        tmp_path / "out",
        release.key,
        umask=0o022,
        env={"SOURCE_DATE_EPOCH": "1767225600"},
    )
    other = (tmp_path / "out" / "release.json").read_bytes()
    assert b'"created":"2026-01-01T00:00:00Z"' in other
    assert other != (release.folder / "release.json").read_bytes()


def _inputs() -> Path:
    from packager.workspace import cache_folder

    return cache_folder() / "inputs"
