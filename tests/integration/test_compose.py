"""A rendered Compose file on a real Docker engine, started by a real Compose.

The image comes from a real registry by its digest. The host's loopback is answered; whatever the
server or the door tries to reach beyond that is not.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml
from built_targets import (
    HARDWARE,
    JURISDICTIONS,
    build_target,
    jurisdiction,
    release_request,
    sample_target,
)
from engines import DEBIAN_13, docker_engine, docker_registry, free_port, missing
from python_image import INTERPRETER, import_python_image

from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, Region
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

NAME = f"packager-compose-{os.getpid()}"
REACHED = 0


@pytest.fixture(scope="session")
def compose() -> list[str]:
    """The command of a Compose that knows the Compose specification (version 2 or later)."""
    plugin = DEBIAN_13 / "usr/libexec/docker/cli-plugins/docker-compose"
    for command in (["docker", "compose"], ["docker-compose"], [str(plugin)]):
        if not shutil.which(command[0]):
            continue
        asked = [*command, "version", "--short"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False)
        if told.returncode == 0 and not told.stdout.startswith("1."):
            return command
    missing("no Compose 2 is installed")
    raise AssertionError("missing() skips or fails")


@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("where", JURISDICTIONS)
def test_compose_takes_every_sample_target(compose, tmp_path, where, machine):
    files = render_target(*sample_target(where, machine, DeploymentPlatform.COMPOSE))
    (tmp_path / "compose.yaml").write_bytes(files["compose.yaml"])
    done = subprocess.run(
        [*compose, "config", "--format", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr
    understood = json.loads(done.stdout)
    written = yaml.safe_load(files["compose.yaml"])
    assert understood["name"] == written["name"]
    assert understood["networks"]["inside"]["internal"] is True
    assert [port["host_ip"] for port in understood["services"]["door"]["ports"]] == ["127.0.0.1"]


@dataclass(frozen=True)
class Started:
    """A running deployment: `url` on the host's loopback, its folder and its door's network."""

    url: str
    port: int
    folder: Path
    compose: list[str]
    host_at_door: str

    def ask(self, path: str) -> object:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=30) as answer:
            return json.load(answer)

    def door_reaches(self, address: str, port: int) -> int:
        program = f"import socket as s; print(s.socket().connect_ex(({address!r}, {port})))"
        asked = [*self.compose, "exec", "-T", "door", INTERPRETER, "-I", "-c", program]
        done = subprocess.run(asked, cwd=self.folder, capture_output=True, text=True, check=True)
        return int(done.stdout)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Iterator[tuple[str, Digest]]:
    """A repository in a real registry, and the digest of the image there."""
    docker_engine().close()
    folder = tmp_path_factory.mktemp("python-image")
    with docker_registry(folder / "registry") as address:
        reference = f"{address}/ml/{NAME}:1"
        import_python_image(reference, folder)
        subprocess.run(["docker", "push", reference], check=True, capture_output=True)
        pinned = subprocess.run(
            ["docker", "inspect", "--format", "{{index .RepoDigests 0}}", reference],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        subprocess.run(["docker", "image", "rm", "-f", reference], check=True, capture_output=True)
        yield f"{address}/ml", Digest.parse(pinned.partition("@")[2])
        subprocess.run(["docker", "image", "rm", "-f", pinned], check=False, capture_output=True)


@pytest.fixture(scope="module")
def started(compose, image, tmp_path_factory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("site")
    registry, digest = image
    region = Region("site", "riyadh-lab")
    request = release_request(NAME)
    built = build_target(
        request,
        jurisdiction("sa", "Saudi Arabia", (region,)),
        HARDWARE["x86-64-v3"],
        DeploymentPlatform.COMPOSE,
        regions=(region,),
        registry=registry,
        digest=digest,
    )
    for name, data in render_target(built, request).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    written = yaml.safe_load((folder / "compose.yaml").read_bytes())
    port = free_port()
    environment = os.environ | {"PACKAGER_PORT": str(port)}
    run = [*compose, "--progress", "plain"]
    up = subprocess.run(
        [*run, "up", "-d", "--wait"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        assert up.returncode == 0, up.stderr
        host = written["networks"]["door"]["ipam"]["config"][0]["gateway"]
        yield Started(f"http://127.0.0.1:{port}", port, folder, compose, host)
    finally:
        subprocess.run([*run, "down", "-t", "5"], cwd=folder, capture_output=True, check=False)


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """A port of this host that anybody with a route to it can connect to."""
    with socket.create_server(("0.0.0.0", 0), backlog=16) as server:
        stop = threading.Event()
        server.settimeout(0.2)

        def accept() -> None:
            while not stop.is_set():
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def addresses_of_host() -> list[str]:
    """This host as others see it: on Docker's bridge, and on its own network if it has one."""
    asked = ["docker", "network", "inspect", "bridge", "--format"]
    asked.append("{{(index .IPAM.Config 0).Subnet}}")
    bridge = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    found = [str(next(IPv4Network(bridge).hosts()))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing; chooses the address it would use
            found.append(probe.getsockname()[0])
        except OSError:
            pass
    return found


def test_the_hosts_loopback_is_answered_and_no_other_address_of_it(started, addresses_of_host):
    assert started.ask("v2/health/ready") is True
    for address in addresses_of_host:
        with socket.socket() as attempt:
            attempt.settimeout(5)
            assert attempt.connect_ex((address, started.port)) != REACHED


def test_an_ordinary_container_would_reach_the_host(image, listener, addresses_of_host):
    """What makes the next tests mean something."""
    registry, digest = image
    for address in addresses_of_host:
        program = f"import socket as s; print(s.socket().connect_ex(({address!r}, {listener})))"
        asked = ["docker", "run", "--rm", "--entrypoint", INTERPRETER]
        asked += [f"{registry}/{NAME}@{digest}", "-I", "-c", program]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert int(done.stdout) == REACHED


def test_the_server_reaches_nobody(started, listener, addresses_of_host):
    for address in (*addresses_of_host, started.host_at_door):
        assert started.ask(f"reach/{address}/{listener}") != REACHED


def test_the_door_reaches_the_host_at_its_own_network_and_nobody_else(
    started, listener, addresses_of_host
):
    assert started.door_reaches(started.host_at_door, listener) == REACHED
    for address in addresses_of_host:
        assert started.door_reaches(address, listener) != REACHED


@pytest.mark.parametrize("service", ["server", "door"])
def test_both_containers_are_held_tight(started, service):
    listed = [*started.compose, "ps", "-q", service]
    container = subprocess.run(
        listed, cwd=started.folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    told = json.loads(subprocess.check_output(["docker", "inspect", container]))[0]
    host = told["HostConfig"]
    assert told["Config"]["User"] == "65532:65532"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Privileged"] is False
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert not told["Mounts"]


def test_the_runtime_is_told_its_region(started):
    assert started.ask("environment")["PACKAGER_REGION"] == "site/riyadh-lab"
