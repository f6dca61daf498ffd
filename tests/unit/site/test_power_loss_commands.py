"""The power goes while a site installs, switches, rolls back: what the disk holds then is enough.

The data folder is a real ext4 on a loop device with direct I/O. At random moments a command is held
still and the device's backing file is copied: what a disk would show after the power came back, all
that was written and not synced missing. Later each copy is mounted where the site's data was, and
the site goes on from there. The engine, whose own store is its own business, is one of files, and
keeps what it had at that moment.

Ten moments in the ordinary run; PACKAGER_POWER asks for more.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from engines import missing
from site_killing import settled
from site_machine import DASH, StubSite
from small_release import SmallRelease
from weights import fine_tuned, initializers

from packager import pipeline
from packager.progress import SILENT
from packager.site.state import read_state

MOMENTS = int(os.environ.get("PACKAGER_POWER", "10"))
SEED = int(os.environ.get("PACKAGER_POWER_SEED", "1"))
MEBIBYTES = 64


@dataclass(frozen=True)
class Command:
    """What an operator does, and which version is in service before and after it."""

    words: tuple[object, ...]  # verb, release, medium
    before: str
    after: str
    code: int = 0
    meanwhile: str = ""  # in service while it is watched, and no longer


@dataclass(frozen=True)
class Moment:
    """The disk and the engine as they were; `told` when the command had said that it is done."""

    command: Command
    told: bool
    disk: Path
    engine: Path


@pytest.fixture(scope="module")
def commands(releases, tmp_path_factory) -> list[Command]:
    """An install, one over it by a delta, one that does not hold, a rollback, an install again."""
    folder = tmp_path_factory.mktemp("power")
    tensors = initializers(1 << 20)
    made: list[tuple[SmallRelease, Path]] = []
    for number, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        weights = b"".join(fine_tuned(tensors, 0.2, seed=number)[0])
        release = releases.other(f"power-{version}", version, weights=weights)
        made.append((release, folder / f"{version}.tar"))
        make_bundle(*made[-1])
    (_, old), (second, _) = made[:2]
    delta = folder / "delta.tar"
    pipeline.bundle(second.folder, trusting(second), delta, [], SILENT, delta_from=old)
    return [
        Command(("install", *made[0]), "", "1.0.0"),
        Command(("install", second, delta), "1.0.0", "1.1.0"),
        Command(("install", *made[2]), "1.1.0", "1.1.0", 1, "1.2.0"),
        Command(("rollback", None), "1.1.0", "1.0.0"),
        Command(("install", *made[1]), "1.0.0", "1.1.0"),
    ]


@pytest.fixture
def site(tmp_path) -> StubSite:
    """Its data folder is where disks are mounted."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        missing("a file system on a loop device needs root and mkfs.ext4")
    site = StubSite(tmp_path / "site", DASH)
    site.profile(watch="1")
    site.data.mkdir()
    return site


@contextlib.contextmanager
def mounted(disk: Path, folder: Path, *how: str) -> Iterator[None]:
    found = subprocess.run(
        ["losetup", "--find", "--show", *how, disk], capture_output=True, text=True, check=False
    )
    if found.returncode:
        missing(f"no loop device: {found.stderr}")
    device = found.stdout.strip()
    try:
        subprocess.run(["mount", device, folder], check=True)
        yield
    finally:
        for _ in range(50):
            if not subprocess.run(["umount", folder], check=False, capture_output=True).returncode:
                break
            time.sleep(0.1)
        subprocess.run(["losetup", "--detach", device], check=False)


def test_whenever_the_power_goes_the_site_goes_on(site, commands, tmp_path):
    chance = random.Random(SEED)
    seen: Counter[str] = Counter()
    while (missed := MOMENTS - seen.total()) > 0:
        disks = tmp_path / "disks"
        moments = list(lived_through(site, commands, disks, chance))
        for moment in chance.sample(moments, min(missed, len(moments))):
            shutil.rmtree(site.stub)
            shutil.copytree(moment.engine, site.stub)
            with mounted(moment.disk, site.data):
                seen[goes_on(site, moment)] += 1
        shutil.rmtree(disks)
        shutil.rmtree(site.stub)
    print(seen.total(), dict(seen))


def lived_through(
    site: StubSite, commands: list[Command], place: Path, chance: random.Random
) -> Iterator[Moment]:
    """All commands on one disk, held still now and then."""
    place.mkdir()
    disk = place / "disk"
    with disk.open("wb") as file:
        file.truncate(MEBIBYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    count = 0

    def copy(command: Command, told: bool) -> Moment:
        nonlocal count
        count += 1
        here = place / str(count)
        subprocess.run(["cp", "--sparse=always", disk, f"{here}.disk"], check=True)
        shutil.copytree(site.stub, f"{here}.engine")
        return Moment(command, told, Path(f"{here}.disk"), Path(f"{here}.engine"))

    with mounted(disk, site.data, "--direct-io=on"):
        site.stub.mkdir()
        for command in commands:
            verb, release, *medium = command.words
            if command.code:
                site.verdict(release, watch="off by 1")
            process = subprocess.Popen(
                site.command(release, verb, *medium),
                env=site.surroundings(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, start_new_session=True,
            )  # fmt: skip
            assert process.stderr
            while process.poll() is None:
                time.sleep(chance.uniform(0, 0.5))
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGSTOP)
                    time.sleep(0.01)  # a call of the kernel that was under way is done
                    yield copy(command, False)
                    os.killpg(process.pid, signal.SIGCONT)
            with process.stderr as stream:
                assert process.wait() == command.code, stream.read()
            yield copy(command, True)


def goes_on(site: StubSite, moment: Moment) -> str:
    """What is on the disk is whole, and the command that was cut is done by running it again."""
    command = moment.command
    verb, release, *medium = command.words
    state = read_state(site.home)
    serving = state.serving.version if state and state.serving else ""
    under_way = {command.before, command.after, command.meanwhile or command.after}
    allowed = {command.after} if moment.told else under_way
    assert serving in allowed, (command, moment.told, serving)
    if serving:
        done = site.run(None, "resume")
        assert done.code == 0, done.err
        settled(site)
        whole_stock(site)
        (serving,) = [s["version"] for s in site.status()["slots"] if s["state"] == "serving"]
    if serving != command.after:
        done = site.run(release, verb, *medium)
        assert done.code == command.code, done.err
        assert site.status()["serving"] == command.after
        settled(site)
        whole_stock(site)
    return f"{verb} of {command.after}{', told' if moment.told else ''}"


def whole_stock(site: StubSite) -> None:
    """What `status` says is kept for deltas is there, byte for byte."""
    for slot in site.status()["slots"]:
        folder = site.home / "slots" / slot["name"] / "release"
        if slot["stock"]:
            done = subprocess.run(
                ["sha256sum", "--quiet", "-c", "checksums.txt"],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, (slot["version"], done.stdout, done.stderr)
