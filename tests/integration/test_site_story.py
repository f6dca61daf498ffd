"""A site with no route out, on real Docker and real podman: from the first stick to a rollback.

install 1.0 → serve → 1.1 without a failed request → corrupted 1.2 refused → bad 1.3 goes back by
itself → rollback to 1.0; `status` tells the truth at each step. What stands between the engines and
the installer's decisions in hundreds of cases is in tests/unit/site.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from real_site import RealSite, real_site
from site_releases import NAME, site_release
from small_release import SmallRelease

from packager.site.history import read_history

pytestmark = pytest.mark.engine

WAYS = [("docker", "dash"), ("podman", "ash"), ("docker", "python"), ("podman", "python")]
# One way by default; both engines where they are required (CI); all of them when asked for.
DEFAULT = 4 if os.environ.get("PACKAGER_LONG") == "1" else 1
if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1":
    DEFAULT = max(DEFAULT, 2)


@pytest.fixture(scope="module")
def stick(tmp_path_factory) -> dict[str, SmallRelease]:
    """Releases by version; an answer shows the factor of its version: 1.0 → 1, 1.1 → 2, …"""
    base = tmp_path_factory.mktemp("stick")
    made = {"1.0.0": site_release(base / "1.0.0", "1.0.0", 1.0)}
    key = made["1.0.0"].key_file
    for version, factor, fault in (
        ("1.1.0", 2.0, ""),
        ("1.2.0", 3.0, ""),
        ("1.3.0", 4.0, "liar"),
        ("1.3.1", 5.0, "collapses"),
    ):
        made[version] = site_release(base / version, version, factor, key_file=key, fault=fault)
    return made


def folder_of(stick: dict[str, SmallRelease]) -> Path:
    return stick["1.0.0"].folder.parent.parent


def holds(site: RealSite, version: str) -> None:
    """Status says so, and so does the engine."""
    status = site.status()
    assert (status["serving"], status["ready"], status["candidate"]) == (version, True, "")
    running = sorted(name for name, alive in site.containers().items() if alive)
    serving = next(slot["name"] for slot in status["slots"] if slot["version"] == version)
    assert running == sorted([serving, f"packager-{NAME}-door"])


@pytest.mark.parametrize(("engine", "by"), WAYS)
def test_from_the_first_stick_to_a_rollback(engine, by, stick, tmp_path):
    if (engine, by) not in WAYS[:DEFAULT]:
        pytest.skip("some minutes: set PACKAGER_LONG=1")
    with real_site(engine, by, tmp_path, folder_of(stick)) as site:
        done = site.run("install", stick["1.0.0"])
        assert done.code == 0, done.err
        holds(site, "1.0.0")

        with site.load() as told:
            done = site.run("install", stick["1.1.0"])
        assert done.code == 0, done.err
        assert told["failures"] == []
        assert set(told["answers"]) == {"1.0", "2.0"}
        holds(site, "1.1.0")

        done = site.run("install", corrupted(stick["1.2.0"], tmp_path))
        assert done.code == 4, done.err
        holds(site, "1.1.0")

        with site.load() as told:
            never = site.run("install", stick["1.3.0"])
            back = site.run("install", stick["1.3.1"])
        assert (never.code, back.code) == (1, 1), never.err + back.err
        assert "off by 1" in never.err
        assert told["failures"] == []
        assert "4.0" not in told["answers"]
        holds(site, "1.1.0")

        with site.load() as told:
            done = site.run("rollback")
        assert done.code == 0, done.err
        assert told["failures"] == []
        holds(site, "1.0.0")

        results = [record.document["result"] for record in read_history(site.home)]
        # Python refuses what is not as signed before the site's own program is asked.
        refused = [] if by == "python" else ["refused"]
        assert results == ["done", "done", *refused, "failed", "rolled-back", "done"]
        assert site.run("uninstall").code == 0
        assert site.containers() == {}


def corrupted(release: SmallRelease, tmp_path: Path) -> SmallRelease:
    folder = tmp_path / "corrupted"
    shutil.copytree(release.folder, folder)
    layers = (folder / "images/blobs/sha256").iterdir()
    biggest = max(layers, key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[len(data) // 2] ^= 1
    biggest.write_bytes(data)
    return replace(release, folder=folder)
