"""A site with no route out, on real Docker and real podman: from the first stick to a rollback.

install 1.0 → serve → delta to 1.1 without a failed request → corrupted 1.2 refused → bad 1.3 goes
back by itself → rollback to 1.0; `status` tells the truth at each step. 1.0 comes as a bundle in
parts, 1.1 as a delta on what the site kept of it, the others as bundles. What stands between the
engines and the installer's decisions in hundreds of cases is in tests/unit/site.
"""

from __future__ import annotations

import os
import time

import pytest
from bundles import make_bundle, trusting
from real_site import RealSite, real_site
from site_releases import NAME, site_release
from sticks import Stick, corrupted
from weights import fine_tuned, initializers

from packager import pipeline
from packager.progress import SILENT
from packager.site.history import read_history

pytestmark = pytest.mark.engine

WAYS = [
    *(("docker", "dash"), ("podman", "ash"), ("docker", "python"), ("podman", "python")),
    *(("docker", "ash"), ("podman", "dash")),
    *(("quadlet", "dash"), ("containerd", "ash"), ("quadlet", "ash"), ("containerd", "dash")),
    *(("containerd", "python"), ("quadlet", "python")),
]
# One way by default; two engines where they are required (CI); all of them when asked for.
DEFAULT = len(WAYS) if os.environ.get("PACKAGER_LONG") == "1" else 1
if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1":
    DEFAULT = max(DEFAULT, 2)


@pytest.fixture(scope="module")
def stick(tmp_path_factory) -> Stick:
    base = tmp_path_factory.mktemp("stick")
    tensors = initializers(4 << 20)
    tuned, _ = fine_tuned(tensors, 0.05)
    old = {"weights": b"".join(tensors)}
    made = {"1.0.0": site_release(base / "1.0.0", "1.0.0", 1.0, **old)}
    key = made["1.0.0"].key_file
    more = {"key_file": key, "weights": b"".join(tuned)}
    made["1.1.0"] = site_release(base / "1.1.0", "1.1.0", 2.0, **more)
    made["1.2.0"] = site_release(base / "1.2.0", "1.2.0", 3.0, **more)
    made["1.3.0"] = site_release(base / "1.3.0", "1.3.0", 4.0, fault="liar", **more)
    made["1.3.1"] = site_release(base / "1.3.1", "1.3.1", 5.0, fault="collapses", **more)
    media = {version: base / f"{version}.tar" for version in made}
    trust = trusting(made["1.0.0"])
    cut = pipeline.Cut(40_000_000, str(key))
    pipeline.bundle(made["1.0.0"].folder, trust, base / "parts", [], SILENT, cut=cut)
    media["1.0.0"] = base / "parts" / "parts.parts.json"
    pipeline.bundle(
        made["1.1.0"].folder, trust, media["1.1.0"], [], SILENT, delta_from=made["1.0.0"].folder
    )
    assert media["1.1.0"].stat().st_size < 2_000_000, "the delta holds what is new"
    for version in ("1.2.0", "1.3.0", "1.3.1"):
        make_bundle(made[version], media[version])
    return Stick(base, made, media)


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
    with real_site(engine, by, tmp_path, stick.folder) as site:
        done = stick.install(site, "1.0.0")
        assert done.code == 0, done.err
        holds(site, "1.0.0")

        with site.load() as told:
            done = stick.install(site, "1.1.0")
        assert done.code == 0, done.err
        assert told["failures"] == []
        assert set(told["answers"]) == {"1.0", "2.0"}
        holds(site, "1.1.0")

        done = stick.install(site, "1.2.0", corrupted(stick, "1.2.0"))
        assert done.code == 4, done.err
        holds(site, "1.1.0")

        with site.load() as told:
            never = stick.install(site, "1.3.0")
            back = stick.install(site, "1.3.1")
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


@pytest.mark.parametrize("engine", ["quadlet", "containerd"])
def test_containers_with_another_owner(engine, stick, tmp_path):
    """systemd with podman, and containerd alone: what of the story depends on who owns them."""
    if DEFAULT == 1:
        pytest.skip("a minute: set PACKAGER_REQUIRE_ENGINES=1 or PACKAGER_LONG=1")
    with real_site(engine, "dash", tmp_path, stick.folder) as site:
        done = stick.install(site, "1.0.0")
        assert done.code == 0, done.err
        holds(site, "1.0.0")
        with site.load() as told:
            done = stick.install(site, "1.1.0")
        assert done.code == 0, done.err
        assert (told["failures"], set(told["answers"])) == ([], {"1.0", "2.0"})
        holds(site, "1.1.0")
        if engine == "containerd":
            isolated(site)
        else:
            wanted_at_boot(site)
        killed_and_healed(site)
        done = site.run("rollback")
        assert done.code == 0, done.err
        holds(site, "1.0.0")
        assert site.run("uninstall").code == 0
        assert site.containers() == {}
        assert leftovers(site) == ""


def serving(site: RealSite) -> str:
    """The container that serves."""
    return next(slot["name"] for slot in site.status()["slots"] if slot["state"] == "serving")


def process(site: RealSite) -> str:
    """The number of its first process in the room."""
    name = serving(site)
    if site.engine == "quadlet":
        shown = site.room.run("systemctl", "show", "--value", "--property=MainPID", name)
        monitor = shown.stdout.strip()
        inspected = ("podman", "inspect", "--format={{.State.Pid}}", name)
        return site.room.run(*inspected).stdout.strip() if monitor != "0" else "0"
    rows = site.room.run("ctr", "-n", "packager", "tasks", "ls").stdout.splitlines()
    return next((row.split()[1] for row in rows if row.startswith(name + " ")), "0")


def isolated(site: RealSite) -> None:
    """ctr's defaults are wide; nothing of them is left."""
    lines = site.room.run("cat", f"/proc/{process(site)}/status").stdout.splitlines()
    said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert {said[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")} == {""}
    assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
    assert set(said["Uid"].split()) == {"65532"}
    inside = ("nsenter", f"--target={process(site)}", "--net", "ip", "-brief", "address")
    assert [row.split()[0] for row in site.room.run(*inside).stdout.splitlines()] == ["lo"]


def wanted_at_boot(site: RealSite) -> None:
    """The door and the version in service, and no other."""
    wants = site.room.root / "run/systemd/generator/multi-user.target.wants"
    units = sorted(path.name for path in wants.glob("packager-*"))
    assert units == sorted([f"{serving(site)}.service", f"packager-{NAME}-door.service"])


def killed_and_healed(site: RealSite) -> None:
    """Who owns the container starts it again when its process dies."""
    before = process(site)
    site.room.run("kill", "-9", before)
    last = time.monotonic() + 90
    while process(site) in (before, "0") or not site.status()["ready"]:
        assert time.monotonic() < last, "nobody started it again"
        time.sleep(0.5)


def leftovers(site: RealSite) -> str:
    if site.engine == "quadlet":
        units = site.room.root / "etc/containers/systemd"
        return " ".join(path.name for path in units.glob("*.container*"))
    ctr = ("ctr", "-n", "packager")
    return (
        site.room.run(*ctr, "images", "ls", "--quiet").stdout
        + site.room.run(*ctr, "snapshots", "ls").stdout.partition("\n")[2]
    )
