"""What is refused at the border: every cell of probes × media × doors in `border_probes.py`.

The doors are `install.sh` under dash and busybox ash, and `packager install`. Each probe tries one
way by default, all of them with PACKAGER_LONG=1. A cell wants its exit status exactly, a finding,
and that nothing was loaded and no container is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import border_probes
import pytest
from border_probes import DELTA, DOORS, ENTRY, FIT, HARM, MEDIA, MEDIUM, PARTS, SIGNED, TRUST, Group
from border_sites import KINDS, Scene
from border_sticks import (
    Makers,
    Stick,
    cut,
    delta_gone_wrong,
    entry_too_many,
    harmed,
    parts_gone_wrong,
    signed_and_wrong,
    unharmed,
)
from bundles import make_bundle
from engines import missing
from site_machine import ASH, DASH, StubSite
from small_release import SmallRelease

from packager import installing
from packager.domain.trust import TrustFiles
from packager.errors import PackagerError
from packager.progress import SILENT
from packager.site.state import parse_state

LONG = os.environ.get("PACKAGER_LONG") == "1"
EVERY = 1 if LONG else 4  # faults that the maker signed take the longest to make


@pytest.fixture(scope="module")
def makers(tmp_path_factory) -> Makers:
    return Makers(tmp_path_factory.mktemp("makers"))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory) -> Makers:
    return Makers(tmp_path_factory.mktemp("heavy"), heavy=True)


def cells(group: Group, step: int = 1) -> list:
    """(name, medium, door) of each row by one way, another one each time, or by all of them."""
    found = []
    for number, row in enumerate(group.rows):
        ways = list(row.cells())
        if not LONG:
            ways = [ways[number * 7 % len(ways)]] if number % step == 0 else []
        found += [pytest.param(row, *way, id=f"{row.name}, {', '.join(way)}") for way in ways]
    return found


def a_site(base: Path, door: str, makers: Makers | None = None) -> StubSite:
    site = StubSite(base / "site", ASH if door == "ash" else DASH)
    if not shutil.which(site.shell[0]):
        missing(f"{site.shell[0]} is not installed")
    if makers:
        site.profile(accept="[filetype]", region=str(makers.good.built[1].plan.regions[0]))
    return site


def install(
    site: StubSite, door: str, stick: Stick, release: SmallRelease, monkeypatch, *, key: bool = True
) -> tuple[int, str]:
    """Exit status and what was told. The shell's installer is the one that the maker signed."""
    if door != "python":
        base = ["--base", stick.base] if stick.base else []
        words = site.command(release, "install", stick.path, *base)
        if not key:
            del words[(at := words.index("--key")) : at + 2]
        done = subprocess.run(
            words, env=site.surroundings(), capture_output=True, text=True, errors="replace",
            check=False, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stderr
    for name, value in site.surroundings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("packager.site.driving._INHERITED", tuple(site.surroundings()))
    try:
        installing.install(
            stick.path,
            TrustFiles((release.public_file,) if key else ()),
            site.site_file,
            bases=[stick.base] if stick.base else [],
            progress=SILENT,
        )
    except PackagerError as error:
        return error.exit_code, " ".join(f"{one.what} {one.where}" for one in error.findings)
    return 0, ""


def ends_as_told(site: StubSite, expected: int, code: int, told: str) -> None:
    assert code == expected, told
    if expected:
        assert told
        nothing_is_loaded(site)


def nothing_is_loaded(site: StubSite) -> None:
    assert not list((site.stub / "images").glob("*"))
    assert site.containers() == {}
    for home in site.data.glob("*"):
        state = home / "run/state"
        assert not state.exists() or parse_state(state.read_bytes()).serving is None
        assert not (home / "incoming").exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("medium", MEDIA)
def test_unharmed_it_is_installed(makers, tmp_path, medium, door, monkeypatch):
    site, stick = a_site(tmp_path, door, makers), unharmed(makers, medium, tmp_path)
    code, told = install(site, door, stick, makers.good, monkeypatch)
    assert code == 0, told
    assert len(site.containers()) == 2  # the server and its door


@pytest.mark.parametrize(("row", "medium", "door"), cells(HARM))
def test_a_harm_without_the_key(makers, tmp_path, row, medium, door, monkeypatch):
    stick, site = harmed(makers, row.name, medium, tmp_path), a_site(tmp_path, door, makers)
    code, told = install(site, door, stick, makers.good, monkeypatch)
    ends_as_told(site, row.expected(medium, door), code, told)


@pytest.mark.parametrize(("row", "medium", "door"), cells(SIGNED, EVERY))
def test_signed_by_the_maker_and_wrong(makers, tmp_path, row, medium, door, monkeypatch):
    made = signed_and_wrong(makers, row.name, tmp_path, monkeypatch)
    site = a_site(tmp_path, door, makers)
    code, told = install(site, door, Stick(made.folder), made, monkeypatch)
    ends_as_told(site, row.expected(medium, door), code, told)


@pytest.mark.parametrize(("row", "medium", "door"), cells(ENTRY))
def test_an_entry_too_many(makers, tmp_path, row, medium, door, monkeypatch):
    stick, site = entry_too_many(makers, row.name, medium, tmp_path), a_site(tmp_path, door, makers)
    code, told = install(site, door, stick, makers.good, monkeypatch)
    ends_as_told(site, row.expected(medium, door), code, told)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(("row", "medium", "door"), cells(PARTS))
def test_parts_gone_wrong(makers, tmp_path, row, medium, door, monkeypatch):
    stick, site = parts_gone_wrong(makers, row.name, tmp_path), a_site(tmp_path, door, makers)
    before = sorted(path.name for path in stick.path.parent.iterdir())
    code, told = install(site, door, stick, makers.good, monkeypatch)
    ends_as_told(site, row.expected(medium, door), code, told)
    assert sorted(path.name for path in stick.path.parent.iterdir()) == before


@pytest.mark.parametrize(("row", "medium", "door"), cells(DELTA))
def test_deltas_gone_wrong(heavy, tmp_path, row, medium, door, monkeypatch):
    stick, site = delta_gone_wrong(heavy, row.name, tmp_path), a_site(tmp_path, door, heavy)
    code, told = install(site, door, stick, heavy.good, monkeypatch)
    ends_as_told(site, row.expected(medium, door), code, told)


@pytest.mark.parametrize(("row", "medium", "door"), cells(FIT) + cells(TRUST))
def test_not_for_this_site(releases, tmp_path, row, medium, door, monkeypatch):
    site = a_site(tmp_path, door)
    with ExitStack() as closing:
        key = row.name != "no key at all"
        scene = Scene(site, releases, tmp_path, closing)
        release = KINDS[row.name](scene) if key else scene.good
        stick = carried(release, medium, tmp_path)
        before = _here(site)
        code, told = install(site, door, stick, release, monkeypatch, key=key)
    assert code == row.expected(medium, door), told
    assert told
    if row.name == "the engine loads another image":
        assert site.containers() == before[0]  # it lies in the engine, and nothing starts it
    else:
        assert _here(site) == before


def carried(release: SmallRelease, medium: str, into: Path) -> Stick:
    """A good release as a folder, a bundle, or its parts."""
    if medium == "folder":
        return Stick(release.folder)
    whole = into / "whole.tar"
    # The key that belongs to it, whatever the site is told.
    own = replace(release, public_file=release.key_file.with_suffix(".pub"))
    make_bundle(own, whole)
    if medium == "bundle":
        return Stick(whole)
    return Stick(cut(whole.read_bytes(), into / "stick", release.signer, 16384))


def _here(site: StubSite) -> tuple:
    """What runs and is loaded; an image that is not the signed one is thrown away again."""
    images = sorted(path.name for path in (site.stub / "images").glob("*"))
    return site.containers(), images


# --- media


@contextmanager
def file_system(folder: Path, mebibytes: int, name: str = "disk") -> Iterator[tuple[Path, Path]]:
    """A mounted ext4 on a loop device, and the file behind it."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        missing("a file system on a loop device needs root and mkfs.ext4")
    backing, mounted = folder / f"{name}.img", folder / name
    backing.write_bytes(b"")
    os.truncate(backing, mebibytes << 20)
    mounted.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", backing], check=True)
    done = subprocess.run(
        ["mount", "-o", "loop", backing, mounted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"no loop device can be mounted here: {done.stderr}")
    try:
        yield mounted, backing
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


@pytest.mark.engine
@pytest.mark.parametrize(("row", "medium", "door"), cells(MEDIUM))
def test_the_medium(makers, tmp_path, row, medium, door, monkeypatch):
    site = a_site(tmp_path, door, makers)
    with file_system(tmp_path, 64) as (mounted, backing):
        made = mounted if row.name in ("a bad sector", "read-only") else tmp_path
        stick = unharmed(makers, medium, made)
        MEDIA_HARMS[row.name](site, makers, stick, mounted, backing)
        code, told = install(site, door, stick, makers.good, monkeypatch)
        if row.name.endswith("to switch"):
            assert (code, "state cannot be written" in told) == (row.expected(medium, door), True)
        else:
            ends_as_told(site, row.expected(medium, door), code, told)


def bad_sector(site, makers, stick: Stick, mounted: Path, backing: Path) -> None:
    """In the middle of the biggest file of the release's own."""
    inside = stick.path.parent if stick.path.is_file() else stick.path
    files = [stick.path] if stick.path.suffix == ".tar" else list(inside.rglob("*"))
    biggest = max(files, key=lambda path: path.stat().st_size)
    subprocess.run(["sync", "-f", mounted], check=True)
    told = subprocess.run(
        ["filefrag", "-e", "-b4096", biggest], capture_output=True, text=True, check=True
    ).stdout
    ends = [
        int(line.split(":")[2].split("..")[1]) for line in told.splitlines()[3:] if ".." in line
    ]
    os.truncate(backing, (max(ends) - 20) * 4096)
    Path("/proc/sys/vm/drop_caches").write_text("1")


def read_only(site, makers, stick: Stick, mounted: Path, backing: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)


def cut_short(site, makers, stick: Stick, mounted: Path, backing: Path) -> None:
    os.truncate(stick.path, stick.path.stat().st_size * 2 // 3)


def _data_at(site: StubSite, makers: Makers, folder: Path) -> None:
    region = str(makers.good.built[1].plan.regions[0])
    site.profile(accept="[filetype]", region=region, data=str(folder))


def disk_full(site, makers, stick: Stick, mounted: Path, backing: Path) -> None:
    _data_at(site, makers, mounted)
    free = os.statvfs(mounted)
    with (mounted / "ballast").open("wb") as stream:
        stream.write(bytes(free.f_bavail * free.f_bsize - (8 << 10)))


def disk_read_only(site, makers, stick: Stick, mounted: Path, backing: Path) -> None:
    _data_at(site, makers, mounted)
    read_only(site, makers, stick, mounted, backing)


MEDIA_HARMS = {
    "a bad sector": bad_sector,
    "read-only": read_only,
    "the tar ends too early": cut_short,
    "the site's disk is full": disk_full,
    "the site's disk is full when it is to switch": disk_full,
    "the site's disk is read-only": disk_read_only,
}


# --- the registry itself


def test_the_document_is_what_the_registry_says():
    """Made anew by `python tests/support/border_probes.py`."""
    assert border_probes.DOCUMENT.read_text(encoding="utf-8") == border_probes.document()


def test_every_row_is_done_and_every_name_is_of_one_row():
    known = set(KINDS) | {"no key at all"}
    assert {row.name for group in (FIT, TRUST) for row in group.rows} == known
    assert {row.name for row in MEDIUM.rows} == set(MEDIA_HARMS)
    for group in border_probes.GROUPS:
        names = [row.name for row in group.rows]
        assert len(names) == len(set(names)), group.title
