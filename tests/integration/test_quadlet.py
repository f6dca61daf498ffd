"""Rendered Quadlet files: read by podman's own generator, started by the line that it makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from built_targets import HARDWARE, JURISDICTIONS
from built_targets import sample_target as sample
from peer_engines import EngineRoom, engine_room
from quadlet_site import NAME, REACHED, Site, command_of, generate, started

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("quadlet")


@pytest.fixture(scope="module")
def room(folder) -> Iterator[EngineRoom]:
    with engine_room("podman", "systemd-socket-activate", shared=folder) as found:
        yield found


@pytest.mark.parametrize("options", [(), ("--user",)], ids=["system", "user"])
@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("where", JURISDICTIONS)
def test_podmans_generator_takes_every_sample_target(room, folder, where, machine, options):
    built, request = sample(where, machine, DeploymentPlatform.QUADLET)
    files = render_target(built, request)
    into = folder / "-".join((where, machine, *options))
    done, services = generate(room, files, into, *options)
    assert done.returncode == 0, done.stderr
    assert all("Loading source unit file" in line for line in done.stderr.splitlines())
    instance = f"filetype-{where}-{machine}"
    assert set(services) == {f"{instance}.service", f"{instance}-door.service"}
    for text in services.values():
        assert command_of(text).count(built.pinned_reference) == 1
        assert "network-online.target" not in text


def test_the_generator_would_see_a_mistake(room, folder):
    files = render_target(*sample("sa", "x86-64-v3", DeploymentPlatform.QUADLET))
    wrong = files[f"{NAME}.container"].replace(b"ReadOnly=", b"ReedOnly=")
    done, _ = generate(room, {**files, f"{NAME}.container": wrong}, folder / "wrong")
    assert "unsupported key 'ReedOnly'" in done.stderr


def test_systemd_takes_the_units_as_they_lie_at_a_site(room, folder):
    """`systemd-analyze verify` over the socket and the services that the generator makes."""
    files = render_target(*sample("sa", "x86-64-v3", DeploymentPlatform.QUADLET))
    _, services = generate(room, files, folder / "verify")
    units = folder / "units"
    units.mkdir()
    for name, text in services.items():
        (units / name).write_text(text)
    (units / f"{NAME}-door.socket").write_bytes(files[f"{NAME}-door.socket"])
    names = [str(units / name) for name in (*services, f"{NAME}-door.socket")]
    done = room.run("systemd-analyze", "verify", "--man=no", *names, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if NAME in line], done.stderr


@pytest.fixture(scope="module")
def site(room, folder) -> Iterator[Site]:
    with started(room, folder) as running:
        yield running


def test_the_first_connection_starts_the_door_and_is_answered(site):
    assert site.ask("v2/health/ready") is True
    assert site.ask("environment")["PACKAGER_REGION"] == "site/riyadh-lab"


def test_both_containers_share_one_namespace_without_a_network(site):
    site.ask("v2/health/ready")
    assert site.namespace(NAME) == site.namespace(f"{NAME}-door")
    enter = ("nsenter", "--target", site.process(NAME), "--net", "ip", "-json")
    (loopback,) = json.loads(site.room.run(*enter, "link").stdout)
    assert loopback["ifname"] == "lo"
    for family in ("-4", "-6"):
        assert json.loads(site.room.run(*enter, family, "route").stdout or "[]") == []


def test_the_server_reaches_nobody_not_even_the_hosts_loopback(site):
    """The socket that answers us stands on the room's loopback, and the server cannot reach it."""
    assert site.ask(f"reach/127.0.0.1/{site.port}") == REACHED  # its own, by the same name
    with listening(site.room) as port:
        assert site.ask(f"reach/127.0.0.1/{port}") != REACHED
        assert site.ask(f"reach/203.0.113.1/{port}") != REACHED


@contextmanager
def listening(room: EngineRoom) -> Iterator[int]:
    """Something of the host's that listens on every address; the host itself can reach it."""
    port = 9099
    serve = ("busybox", "nc", "-ll", "-p", str(port), "-e", "true")
    connect = ("busybox", "nc", "-w", "1", "127.0.0.1", str(port))
    with room.serving(*serve, until=connect):
        yield port


@pytest.mark.parametrize("container", [NAME, f"{NAME}-door"])
def test_both_containers_are_held_tight(site, container):
    site.ask("v2/health/ready")
    told = json.loads(site.room.run("podman", "inspect", container).stdout)[0]
    host = told["HostConfig"]
    assert told["Config"]["User"] == "65532:65532"
    assert host["ReadonlyRootfs"] is True
    assert told["EffectiveCaps"] in (None, [])
    assert "no-new-privileges" in host["SecurityOpt"]
    assert host["Privileged"] is False
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert not told["Mounts"]
