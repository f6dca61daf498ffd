"""The tamper matrix of the trust issue through the doors of a site.

Every harm of `tampering.py` and of a hostile bundle, brought as a folder and as a bundle, to
`install.sh` under dash and busybox ash and to `packager install`: refused with exit 4 and a place,
and nothing loaded. Each harm tries one way by default, all of them with PACKAGER_LONG. Not here is
`inner_faults.py`: there the maker's own key signed what is wrong, which a shell cannot find.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bundles import entries, make_bundle, packed_as_is, write_entries
from site_machine import ASH, DASH, StubSite
from small_release import SmallRelease, _write_manifest, make_release
from tamper_matrix import ENTRIES
from tampering import PROBES

from packager import sites
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.domain.trust import TrustFiles
from packager.errors import PackagerError
from packager.progress import SILENT
from packager.render.installer import NAME as INSTALLER
from packager.render.rendering import render_target
from packager.site.state import parse_state

LONG = os.environ.get("PACKAGER_LONG") == "1"
WAYS = [(door, medium) for medium in ("folder", "bundle") for door in ("dash", "ash", "python")]
# What install.sh takes no notice of: it believes openssl's signature and the list bound to it.
# sigstore's form of that same signature is for other verifiers; an empty folder holds nothing.
UNREAD = {
    *("flip bundle", "truncate bundle", "bundle too long", "bundle nested", "bundle is no object"),
    *("bundle nested objects", "bundle is empty", "bundle with a key twice", "bundle with NaN"),
    *("bundle with more", "bundle of another type", "bundle with a hint of another key"),
    *("bundle in loose base64", "bundle about an envelope", "add folder"),
    # Signed by the maker, and no longer than what the shell reads.
    "root too long",
}
# The list of what a bundle carries is believed by nobody (docs/bundle.md): the shell demands what
# this site's target needs. The SBOM that is taken away is another target's.
STAYED_BEHIND = {"remove SBOM"}


def brings_installer(folder: Path, target: BuiltTarget, request: ReleaseRequest) -> None:
    """Each target's manifest, and the installer where there is one."""
    _write_manifest(folder, target, request)
    rendered = render_target(target, request)
    if INSTALLER in rendered:
        (folder / target.folder / INSTALLER).write_bytes(rendered[INSTALLER])


@dataclass(frozen=True)
class Good:
    """A release that nobody harmed, and its bundle."""

    release: SmallRelease
    members: list


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Good:
    base = tmp_path_factory.mktemp("good")
    release = make_release(base, manifests=brings_installer)
    make_bundle(release, base / "good.tar")
    return Good(release, entries(base / "good.tar"))


@pytest.fixture
def copy(good, tmp_path) -> SmallRelease:
    folder = tmp_path / "stick/release"
    shutil.copytree(good.release.folder, folder)
    return replace(good.release, folder=folder)


def site_at(base: Path, door: str, good: Good) -> StubSite:
    site = StubSite(base / "site", ASH if door == "ash" else DASH)
    place = good.release.built[1].plan.regions[0]
    site.profile(accept="[filetype]", region=str(place))
    return site


def given(medium: str, release: SmallRelease, good: Good) -> Path:
    if medium == "folder":
        return release.folder
    path = release.folder.parent / "release.tar"
    write_entries(path, packed_as_is(release.folder, good.members))
    return path


def install(site: StubSite, door: str, what: Path, good: Good, monkeypatch) -> tuple[int, str]:
    """Exit code and what was told. The shell's installer is the one that the maker signed."""
    if door != "python":
        done = site.run(good.release, "install", what)
        return done.code, done.err
    for name, value in site.surroundings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("packager.site.driving._INHERITED", tuple(site.surroundings()))
    try:
        sites.install(
            what, TrustFiles((good.release.public_file,)), site.site_file, progress=SILENT
        )
    except PackagerError as error:
        return error.exit_code, " ".join(f"{one.what} {one.where}" for one in error.findings)
    return 0, ""


def nothing_is_loaded(site: StubSite) -> None:
    assert not list((site.stub / "images").glob("*"))
    assert site.containers() == {}
    state = site.data / "filetype/run/state"
    assert not state.exists() or parse_state(state.read_bytes()).serving is None
    assert not (site.data / "filetype/incoming").exists()


def ways(count: int) -> list:
    """Every harm by one way, another one each time, or by all of them."""
    return [(number, *way) for number in range(count) for way in _of(number)]


def _of(number: int) -> list[tuple[str, str]]:
    return WAYS if LONG else [WAYS[number % len(WAYS)]]


def refused(tmp_path, door, medium, copy, good, monkeypatch, name: str) -> None:
    site = site_at(tmp_path, door, good)
    code, told = install(site, door, given(medium, copy, good), good, monkeypatch)
    unseen = UNREAD | (STAYED_BEHIND if medium == "bundle" else set())
    if name in unseen and door != "python" and code == 0:
        return
    assert code == 4, told
    assert told
    nothing_is_loaded(site)


@pytest.mark.parametrize(("door", "medium"), WAYS)
def test_unharmed_it_is_installed(good, copy, tmp_path, door, medium, monkeypatch):
    site = site_at(tmp_path, door, good)
    code, told = install(site, door, given(medium, copy, good), good, monkeypatch)
    assert code == 0, told


@pytest.mark.parametrize(
    ("number", "door", "medium"),
    ways(len(PROBES)),
    ids=lambda it: PROBES[it].name if isinstance(it, int) else it,
)
def test_a_harm_without_the_key(good, copy, tmp_path, number, door, medium, monkeypatch):
    probe = PROBES[number]
    probe.harm(copy)
    refused(tmp_path, door, medium, copy, good, monkeypatch, probe.name)


@pytest.mark.parametrize(
    ("number", "door"),
    [
        (number, door)
        for number in range(len(ENTRIES))
        for place, door in enumerate(("dash", "ash", "python"))
        if LONG or number % 3 == place
    ],
)
def test_an_entry_too_many_in_a_bundle(good, copy, tmp_path, number, door, monkeypatch):
    name = list(ENTRIES)[number]
    site = site_at(tmp_path, door, good)
    path = tmp_path / "hostile.tar"
    write_entries(path, [*good.members, ENTRIES[name]])
    code, told = install(site, door, path, good, monkeypatch)
    assert code == 4, told
    assert told
    nothing_is_loaded(site)
    assert not list(tmp_path.rglob("evil"))
