"""The rendered Quadlet files on a machine that systemd booted: started, healed and judged by it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from booted_room import booted_room
from peer_engines import EngineRoom
from quadlet_site import NAME, REACHED, Site, site_files

pytestmark = pytest.mark.engine

SERVER, DOOR, SOCKET = f"{NAME}.service", f"{NAME}-door.service", f"{NAME}-door.socket"


@dataclass(frozen=True)
class Booted:
    room: EngineRoom
    site: Site

    def told(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit as systemd says them."""
        done = self.room.run("systemctl", "show", f"--property={','.join(names)}", unit)
        return dict(line.split("=", 1) for line in done.stdout.splitlines())

    def until(self, unit: str, state: str, seconds: float = 40) -> None:
        last = time.monotonic() + seconds
        while self.told(unit, "ActiveState")["ActiveState"] != state:
            story = self.room.run("journalctl", "--no-pager", "-n", "30", "-u", unit, check=False)
            assert time.monotonic() < last, story.stdout
            time.sleep(0.2)


@pytest.fixture(scope="module")
def booted(tmp_path_factory) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("booted")
    with booted_room("podman", "systemctl", shared=folder) as room:
        files, digest = site_files(room, folder)
        for name, data in files.items():
            if name.endswith(".container"):
                write(room, f"etc/containers/systemd/{name}", data)
            elif name.endswith(".socket"):
                write(room, f"etc/systemd/system/{name}", data)
        room.run("systemctl", "daemon-reload")
        room.run("systemctl", "start", SERVER)
        room.run("systemctl", "enable", "--now", SOCKET)
        yield Booted(room, Site(room, 8080, digest))


def write(room: EngineRoom, path: str, data: bytes) -> None:
    (room.root / path).parent.mkdir(parents=True, exist_ok=True)
    (room.root / path).write_bytes(data)


def test_systemd_started_the_server_when_it_said_that_it_is_healthy(booted):
    told = booted.told(SERVER, "ActiveState", "SubState", "Result", "Type")
    assert told == {
        "ActiveState": "active", "SubState": "running", "Result": "success", "Type": "notify",
    }  # fmt: skip
    health = json.loads(booted.room.run("podman", "inspect", NAME).stdout)[0]["State"]["Health"]
    assert health["Status"] == "healthy"


def test_the_first_connection_starts_the_door_and_is_answered(booted):
    assert booted.site.ask("v2/health/ready") is True
    assert booted.site.ask("environment")["PACKAGER_REGION"] == "site/riyadh-lab"
    booted.until(DOOR, "active")


def test_the_server_has_no_network_under_systemd_either(booted):
    booted.site.ask("v2/health/ready")
    enter = ("nsenter", "--target", booted.site.process(NAME), "--net", "ip", "-json", "link")
    (loopback,) = json.loads(booted.room.run(*enter).stdout)
    assert loopback["ifname"] == "lo"
    assert booted.site.ask("reach/203.0.113.1/443") != REACHED


def test_a_server_that_dies_is_started_again_and_asked_through_the_same_socket(booted):
    booted.site.ask("v2/health/ready")
    before = booted.told(SERVER, "NRestarts", "MainPID")
    booted.room.run("kill", "-KILL", booted.site.process(NAME))
    last = time.monotonic() + 40
    while booted.told(SERVER, "NRestarts")["NRestarts"] == before["NRestarts"]:
        assert time.monotonic() < last
        time.sleep(0.2)
    booted.until(SERVER, "active")
    assert booted.site.ask("v2/health/ready") is True
    assert booted.told(SOCKET, "ActiveState")["ActiveState"] == "active"


# What systemd judges is podman, which makes the container: it needs namespaces, mounts and
# capabilities, and a filter in the unit would keep a user's own podman from starting at all (its
# newuidmap is setuid). Recorded, so that a change is noticed; lower is better, 10 is the worst.
EXPOSURE = {SERVER: 9.8, DOOR: 9.8}


@pytest.mark.parametrize("unit", EXPOSURE)
def test_systemd_analyze_judges_no_unit_worse_than_was_recorded(booted, unit):
    done = booted.room.run("systemd-analyze", "security", "--no-pager", unit)
    (told,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert float(told) <= EXPOSURE[unit]


def test_what_a_container_may_do_is_what_systemd_would_have_asked_for(booted):
    """The same questions as systemd-analyze asks of a unit, asked of the server's process."""
    booted.site.ask("v2/health/ready")
    status = booted.room.run("cat", f"/proc/{booted.site.process(NAME)}/status").stdout
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split() == ["65532"] * 4
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"  # a filter of system calls
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(told[name], 16) == 0
    for kind in ("mnt", "pid", "net", "ipc", "uts"):
        inside, outside = (
            booted.room.run("readlink", f"/proc/{process}/ns/{kind}").stdout
            for process in (booted.site.process(NAME), "1")
        )
        assert inside != outside, kind


def test_stopping_leaves_nothing_behind(booted):
    booted.room.run("systemctl", "stop", SOCKET, DOOR, SERVER)
    assert booted.told(SERVER, "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
    assert booted.room.run("podman", "ps", "--all", "--quiet").stdout == ""
