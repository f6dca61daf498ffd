"""Killed at any moment, a command leaves nothing half made, and the next run completes it.

40 kills in the ordinary run, PACKAGER_KILLS asks for more. After every other kill, part of what was
written is lost as well, as when power fails before the disk has it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from bundles import trusting
from small_release import SmallRelease, build_targets, make_release
from weights import fine_tuned, initializers

from packager import pipeline
from packager.digest import Digest
from packager.progress import SILENT

KILLS = int(os.environ.get("PACKAGER_KILLS", "40"))
SEED = int(os.environ.get("PACKAGER_KILLS_SEED", "1"))
PART = 1 << 20


class Border:
    """Two releases, their bundles and the delta between them, and what each command should make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        old = initializers(12 << 20)
        new, _ = fine_tuned(old, 0.3)
        self.first = self._release("1.0.0", b"".join(old))
        self.second = self._release("1.1.0", b"".join(new), self.first)
        self.trust = trusting(self.first)
        self.cut = pipeline.Cut(PART, str(self.first.key_file))
        self.whole, self.delta = folder / "whole.tar", folder / "delta.tar"
        self.parts = folder / "parts"
        self.bundle(self.whole)
        self.make_delta(self.delta)
        self.split(self.parts)

    def _release(self, version: str, weights: bytes, like: SmallRelease | None = None):
        base = self.folder / version
        base.mkdir()
        key = like.key_file if like else None
        build = partial(build_targets, weights=weights)
        return make_release(base, version=version, key_file=key, build=build)

    def bundle(self, output: Path) -> None:
        pipeline.bundle(self.second.folder, self.trust, output, [], SILENT)

    def split(self, output: Path) -> None:
        pipeline.bundle(self.second.folder, self.trust, output, [], SILENT, self.cut)

    def make_delta(self, output: Path) -> None:
        old = self.first.folder
        pipeline.bundle(self.second.folder, self.trust, output, [], SILENT, delta_from=old)

    def join(self, output: Path) -> None:
        pipeline.bundle(self.parts, self.trust, output, [], SILENT)

    def apply(self, output: Path) -> None:
        pipeline.apply_deltas(self.first.folder, [self.delta], self.trust, output, SILENT)


@pytest.fixture(scope="module")
def border(tmp_path_factory) -> Border:
    return Border(tmp_path_factory.mktemp("border"))


def killed(action: Callable[[], None], after: float) -> bool:
    """Do it in a process that is killed after some seconds; whether it was still at work."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return False
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def state(path: Path) -> dict[str, str]:
    """Every file below a path, or the file itself, by digest."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {file.relative_to(path.parent).as_posix(): str(Digest.of_file(file)) for file in files}


def lose_power(folder: Path, chance: random.Random) -> None:
    """What was written and not synced is gone: cut off, or never more than zeros."""
    for path in folder.rglob(".packager-bundle-*"):
        for file in [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()]:
            size = file.stat().st_size
            start = chance.randrange(size + 1)
            if chance.random() < 0.5:
                os.truncate(file, start)
            else:
                with file.open("r+b") as stream:
                    stream.seek(start)
                    stream.write(bytes(min(size - start, chance.randrange(1, 1 << 20))))


@pytest.mark.parametrize("name", ["bundle", "split", "make_delta", "join", "apply"])
def test_the_next_run_completes_what_was_killed(border, tmp_path, name):
    chance = random.Random(f"{SEED}{name}")
    action = getattr(border, name)
    expected_path = {"split": border.parts, "make_delta": border.delta}.get(name, border.whole)
    output = tmp_path / expected_path.name
    expected = state(expected_path)
    start = time.monotonic()
    action(output)
    lasts = time.monotonic() - start
    assert state(output) == expected
    interrupted = 0
    for number in range(max(1, KILLS // 5)):
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        # More than once, so that what was continued is killed again.
        for _ in range(chance.choice([1, 1, 2, 3])):
            interrupted += killed(lambda: action(output), chance.uniform(0, lasts))
            if output.exists():
                break
            if number % 2:
                lose_power(tmp_path, chance)
        if output.exists():
            assert state(output) == expected
        else:
            action(output)
        assert state(output) == expected
        assert sorted(tmp_path.iterdir()) == [output]
    assert interrupted


def test_what_was_written_is_not_written_again(border, tmp_path, monkeypatch):
    """A run that goes on writes only what is missing."""
    from packager.bundle.target import Target

    output = tmp_path / "whole.tar"
    written = 0
    write_at = Target.write_at

    def stop(self, position, data):
        nonlocal written
        written += len(data)
        if written > 8 << 20:
            raise KeyboardInterrupt
        write_at(self, position, data)

    monkeypatch.setattr(Target, "write_at", stop)
    with pytest.raises(KeyboardInterrupt):
        border.bundle(output)
    written = -(64 << 20)
    border.bundle(output)
    total = border.whole.stat().st_size
    assert written + (64 << 20) < total - (6 << 20)
    assert state(output) == state(border.whole)


def test_two_at_once_do_not_spoil_each_other(border, tmp_path):
    from packager.errors import OutputError

    output = tmp_path / "whole.tar"
    told: list[str] = []

    class Listener:
        def step(self, title: str) -> None:
            if title.startswith("write") and not told:
                told.append(title)

        def advance(self, detail: str, done: int, total: int) -> None:
            if len(told) == 1:
                told.append("second")
                with pytest.raises(OutputError):
                    border.bundle(output)

        def note(self, text: str) -> None:
            pass

    pipeline.bundle(border.second.folder, border.trust, output, [], Listener())
    assert told[1:] == ["second"]
    assert state(output) == state(border.whole)
