"""The same Quadlet files for a user without rights: `podman run` of the lines, rootless."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer_engines import engine_room
from quadlet_site import NAME, REACHED, Site, started

pytestmark = pytest.mark.engine

UID = 1000
MAKE_USER = f"""
useradd --no-create-home --uid {UID} ann
echo ann:100000:65536 >/etc/subuid
echo ann:100000:65536 >/etc/subgid
mkdir -p /run/user/{UID}
chown {UID}:{UID} /run/user/{UID}
chmod 700 /run/user/{UID}
chmod 1777 /var/tmp
mount --make-rshared /
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Rootless podman stores on overlayfs, and not over one: the user's home lies on a plain disk,
    in a folder that the user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="packager-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    user = (
        "setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups", "--reset-env",
        "env", f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{UID}", "PATH=/usr/sbin:/usr/bin:/bin",
        "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
    )  # fmt: skip
    try:
        with engine_room("podman", "newuidmap", "systemd-socket-activate", shared=folder) as room:
            room.run("sh", "-ec", MAKE_USER)
            with started(room, folder, user) as running:
                yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_user_without_rights_runs_it_and_is_answered(site):
    asked = (*site.user, "podman", "info", "--format={{.Host.Security.Rootless}}")
    assert site.room.run(*asked).stdout.strip() == "true"
    assert site.ask("v2/health/ready") is True
    assert site.ask("environment")["PACKAGER_REGION"] == "site/riyadh-lab"


def test_the_server_is_no_user_of_the_host_and_has_no_network(site):
    site.ask("v2/health/ready")
    process = site.process(NAME)
    owner = site.room.run("stat", "--format=%u", f"/proc/{process}").stdout.strip()
    assert int(owner) == 100000 + 65532 - 1
    assert site.namespace(NAME) == site.namespace(f"{NAME}-door")
    enter = ("nsenter", "--target", process, "--net", "ip", "-json", "link")
    (loopback,) = json.loads(site.room.run(*enter).stdout)
    assert loopback["ifname"] == "lo"
    assert site.ask("reach/203.0.113.1/80") != REACHED
