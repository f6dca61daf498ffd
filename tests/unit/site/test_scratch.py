"""Folders of killed runs are swept away, those of running ones are not; secrets lie in memory."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from packager.site import scratch
from packager.site.scratch import PREFIX, fits_in_memory, scratch_folder, secret_folder, sweep

HOLD = """
import sys, time, pathlib
from packager.site.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "model").write_text("plain")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_only_the_owner_enters_and_it_is_gone_afterwards(tmp_path):
    with scratch_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_running_one_is_kept_and_a_killed_ones_is_swept(tmp_path, holder):
    sweep(tmp_path)
    (folder,) = tmp_path.glob(f"{PREFIX}*")
    assert (folder / "model").exists()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (folder / "model").exists()
    with scratch_folder(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("x")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "data")
    (tmp_path / f"{PREFIX}file").write_text("x")
    sweep(tmp_path)
    assert (tmp_path / "data/file").exists()
    assert (tmp_path / f"{PREFIX}file").exists()
    assert (tmp_path / "kept").exists()


def test_a_secret_lies_in_memory_where_it_fits(tmp_path, monkeypatch):
    memory = tmp_path / "memory"
    disk = tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    monkeypatch.setattr(scratch, "MEMORY", memory)
    with secret_folder(disk, 0) as folder:
        assert folder.parent == (memory if fits_in_memory(0) else disk)
    assert not fits_in_memory(1 << 60)
    with secret_folder(disk, 1 << 60) as folder:
        assert folder.parent == disk
    assert list(memory.iterdir()) == list(disk.iterdir()) == []
