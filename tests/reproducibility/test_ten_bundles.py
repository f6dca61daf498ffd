"""Ten times the same bundle, to the byte: whole, of one target, in parts, as a delta.

Each time in a process of its own, with another folder, time zone, umask, hash seed, locale, number
of processors, and a release whose files were copied there in another order at another time.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from small_release import SmallRelease, build_targets, make_release
from weights import fine_tuned, initializers

from packager.digest import Digest

# All four in one process, since starting Python takes longer than making them.
MAKING = """
import sys
from packager.cli.main import main
old, new, key, signing, out = sys.argv[1:]
known = ["--key", key, "-q", "-o"]
for command in (
    ["bundle", new, *known, f"{out}/whole.tar"],
    ["bundle", new, "--target", "sa/x86-64-v3/compose", *known, f"{out}/target.tar"],
    ["bundle", new, "--split", "400kB", "--signing-key", signing, *known, f"{out}/parts"],
    ["bundle", new, "--delta-from", old, *known, f"{out}/delta.tar"],
):
    if main(command):
        sys.exit(f"{command} failed")
"""


@dataclass(frozen=True)
class World:
    """Where and how a bundle is made; `number` also says in which order files were copied."""

    number: int
    umask: int
    environment: dict[str, str]

    @property
    def folder(self) -> str:
        return "/".join([*["a place", "ünder", "x" * 40][: self.number % 4], str(self.number)])


ZONES = ("UTC", "Asia/Riyadh", "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu")
LOCALES = ("C", "C.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8", "POSIX")
WORLDS = [
    World(
        number,
        (0o022, 0o077, 0o000, 0o027)[number % 4],
        {
            "TZ": ZONES[number % 5],
            "PYTHONHASHSEED": str(number * 4242 % 4099),
            "LC_ALL": LOCALES[(number * 3 + 1) % 5],
            "PYTHONOPTIMIZE": str(number % 2 or ""),
            "PYTHON_CPU_COUNT": str(1 + number % 3),
            "HOME": f"/nonexistent/{number}",
        },
    )
    for number in range(10)
]


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> tuple[SmallRelease, SmallRelease]:
    tensors = initializers(1 << 20)
    key = None
    made = []
    for version in ("1.0.0", "1.1.0"):
        base = tmp_path_factory.mktemp(version)
        build = partial(build_targets, weights=b"".join(tensors))
        made.append(make_release(base, version=version, key_file=key, build=build))
        tensors, _ = fine_tuned(tensors, 0.1)
        key = made[0].key_file
    return made[0], made[1]


def copied(source: Path, target: Path, number: int) -> Path:
    """The same files, written in another order, with other times and modes."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    random.Random(number).shuffle(files)
    for path in files:
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
        to.chmod((0o644, 0o600, 0o755, 0o444)[number % 4])
        os.utime(to, (number * 10**8, number * 10**8))
    return target


def made_in(world: World, releases: tuple[SmallRelease, SmallRelease], base: Path) -> dict:
    """Name → digest of every file that comes out."""
    place = base / world.folder
    old, new = (
        copied(one.folder, place / name, world.number)
        for one, name in zip(releases, ("old", "new"), strict=True)
    )
    out = place / "out"
    out.mkdir()
    subprocess.run(
        [
            *(sys.executable, "-c", MAKING, old, new),
            *(releases[0].public_file, releases[0].key_file, out),
        ],
        check=True,
        capture_output=True,
        cwd=out if world.number % 2 else base,
        env={**os.environ, **world.environment},
        umask=world.umask,
    )
    return {
        path.relative_to(out).as_posix(): str(Digest.of_file(path))
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_ten_times_the_same_bytes(releases, tmp_path):
    first, *others = (made_in(world, releases, tmp_path) for world in WORLDS)
    assert {"whole.tar", "target.tar", "delta.tar", "parts/parts.parts.json"} <= set(first)
    assert "parts/parts.part003" in first
    for world, found in zip(WORLDS[1:], others, strict=True):
        assert found == first, world
