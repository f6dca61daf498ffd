"""The power goes while the state file is written: what a disk holds at any moment is a whole state.

A real ext4 on a loop device with direct I/O: a copy of its backing file is what a disk would show
after the power came back. The journal is replayed by mounting the copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from engines import missing

from packager.resources import data_folder
from packager.site.state import parse_state

STATES = 60
PROGRAM = r"""
set -u
LC_ALL=C
RECORDING='' WORK='' LOCKED='' R_NAME=multiply SITE_engine=docker SITE_listen=127.0.0.1:1
RUN_DIR=$1 STATE=$1/state HOME_DIR=$1
S_serial=0 S_newest=1 S_counter=1 S_candidate='' S_fallback='' S_record='' S_slots='a 1.0.0 %s t i 1
'
number=0
while [ "$number" -lt %d ]; do
  number=$((number + 1))
  S_serving=slot-$number
  save_state
  echo "$number"
done
"""


@pytest.fixture
def disk(tmp_path):
    """A mounted ext4; yields the backing file and the folder. Skips where no loop device is."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        missing("a file system on a loop device needs root and mkfs.ext4")
    backing, folder = tmp_path / "disk", tmp_path / "mounted"
    backing.write_bytes(bytes(16 << 20))
    subprocess.run(["mkfs.ext4", "-q", "-F", backing], check=True)
    folder.mkdir()
    found = subprocess.run(
        ["losetup", "--find", "--show", "--direct-io=on", backing], capture_output=True, text=True
    )
    if found.returncode:
        missing(f"no loop device: {found.stderr}")
    device = found.stdout.strip()
    try:
        subprocess.run(["mount", device, folder], check=True)
        yield backing, folder
    finally:
        subprocess.run(["umount", folder], check=False)
        subprocess.run(["losetup", "--detach", device], check=False)


def test_a_disk_that_loses_power_holds_a_whole_state_and_never_an_older_one_than_told(
    disk, tmp_path
):
    backing, folder = disk
    parts = ("10-telling.sh", "40-state.sh")
    text = "\n".join((data_folder("templates") / "site" / part).read_text() for part in parts)
    script = tmp_path / "write.sh"
    script.write_text(text + PROGRAM % ("0" * 64, STATES))
    writer = subprocess.Popen(
        ["dash", script, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    told, seen = 0, []
    assert writer.stdout
    for line in writer.stdout:
        told = int(line)
        if told % 12 == 0:
            copy = tmp_path / f"after-{told}"
            shutil.copyfile(backing, copy)  # the power is gone while more is written
            seen.append((told, copy))
    assert writer.wait(60) == 0, writer.stderr.read()
    writer.stderr.close()
    writer.stdout.close()
    assert len(seen) == STATES // 12
    for told, copy in seen:
        serving = serving_after_power_loss(copy, tmp_path / "again")
        assert serving >= told  # what a command was told to be done is on the disk


def serving_after_power_loss(copy: Path, at: Path) -> int:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", copy, at], check=True)
    try:
        data = (at / "state").read_bytes()
        parse_state(data)
        return int(data.decode().partition("serving=slot-")[2].split("\n")[0])
    finally:
        for _ in range(20):
            if not subprocess.run(["umount", at], check=False).returncode:
                break
            time.sleep(0.1)
