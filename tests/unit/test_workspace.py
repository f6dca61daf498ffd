"""Publishing is all or nothing."""

import errno
import os
import subprocess
import sys

import pytest

from packager.errors import OutputError
from packager.workspace import (
    copy_atomically,
    link_or_copy,
    publishing,
    replacing,
    write_atomically,
)


def test_a_finished_release_appears_whole(tmp_path):
    with publishing(tmp_path / "deep" / "out") as workspace:
        (workspace.release / "file").write_text("whole")
        (workspace.work / "scrap").write_text("not published")
        assert not (tmp_path / "deep" / "out").exists()
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == ["file"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_stops_the_work_nothing_is_left(tmp_path, stop):
    with pytest.raises(stop), publishing(tmp_path / "out") as workspace:
        (workspace.release / "file").write_text("half")
        raise stop
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_and_untouched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    with pytest.raises(OutputError, match="exists already"), publishing(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / "mine").read_text() == "precious"


def test_an_output_that_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OutputError), publishing(tmp_path / "out"):
        (tmp_path / "out").write_text("somebody else was quicker")
    assert (tmp_path / "out").read_text() == "somebody else was quicker"


def test_of_a_copy_the_place_that_is_full_is_told_and_not_the_source(tmp_path):
    with pytest.raises(OutputError) as refused, publishing(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left", "/cache/blob", None, "/site/blob")
    assert refused.value.findings[0].where == "/site/blob"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_what_the_disk_says_is_told_with_a_next_step(tmp_path, number):
    with pytest.raises(OutputError) as caught, publishing(tmp_path / "out"):
        raise OSError(number, os.strerror(number), "somewhere")
    assert caught.value.findings[0].next_step
    assert list(tmp_path.iterdir()) == []


def test_the_leftovers_of_a_killed_process_are_swept(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from packager.workspace import publishing\n"
        "with publishing(Path(sys.argv[1]) / 'out') as workspace:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with publishing(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_umask_decides_nothing(tmp_path):
    before = os.umask(0o077)
    try:
        with publishing(tmp_path / "out") as work:
            write_atomically(work.release / "deep" / "er" / "file", b"x")
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    for folder in ("out", "out/deep", "out/deep/er"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_replacing_keeps_the_old_file_when_stopped(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(ValueError), replacing(tmp_path / "file") as scratch:
        scratch.write_text("half")
        raise ValueError
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_copy_appears_whole_or_not_at_all(tmp_path):
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(b"weights" * 1000)
    copy_atomically(source, target)
    assert target.read_bytes() == source.read_bytes()
    source.unlink()
    with pytest.raises(FileNotFoundError):
        copy_atomically(source, tmp_path / "folder" / "other")
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_link_or_copy_gives_the_same_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"bytes")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"bytes"
