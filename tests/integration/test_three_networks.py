"""Compose and Quadlet among three networks: the inside is answered, and nobody else is reached.

Each time the machine itself reaches all three networks, and so does an ordinary container: what
keeps the release from them is the release. The inside asks through a gateway on the machine, since
a release is published on loopback only; the other two find no door at all.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from built_targets import HARDWARE, build_target, jurisdiction, release_request
from engines import missing
from peer_engines import EngineRoom, docker_26, engine_room
from python_image import INTERPRETER, python_archive, python_entrypoint
from quadlet_site import NAME, REACHED, Site, started
from three_networks import FAR, PORT, ThreeNetworks, three_networks

from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, Region
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

GATEWAY = 8443
PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
REACH = "import socket as s; x = s.socket(); x.settimeout(3); print(x.connect_ex(({!r}, {})))"


@contextlib.contextmanager
def gateway(networks: ThreeNetworks, to: int) -> Iterator[str]:
    """The operator's own gateway: on the inside's cable only, handing on to the loopback."""
    address = f"{networks.at_machine('inside')}:{GATEWAY}"
    log = networks.room.scratch / "gateway.log"
    command = networks.room.command(
        "systemd-socket-activate", "-l", address, PROXY, f"127.0.0.1:{to}"
    )
    with log.open("wb") as story:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=story, stderr=story)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def answered_inside_and_nowhere_else(networks: ThreeNetworks, port: int) -> None:
    with gateway(networks, port) as url:
        told = [networks.ask("inside", f"{url}/v2/health/ready") for _ in range(20)]
        assert True in told  # the gateway takes a moment to listen
    for name in FAR:
        assert networks.ask(name, f"http://{networks.at_machine(name)}:{port}/v2") is None


def test_the_machine_reaches_all_three_networks(quadlet):
    networks, _ = quadlet
    assert all(networks.machine_reaches(address) for address in FAR.values())


@pytest.fixture(scope="module")
def quadlet(tmp_path_factory) -> Iterator[tuple[ThreeNetworks, Site]]:
    folder = tmp_path_factory.mktemp("quadlet")
    with (
        engine_room("podman", "systemd-socket-activate", "ip", shared=folder) as room,
        three_networks(room) as networks,
        started(room, folder) as site,
    ):
        yield networks, site


def test_an_ordinary_container_of_podman_reaches_all_three(quadlet):
    networks, site = quadlet
    image = f"registry.example.sa/ml/filetype@{site.digest}"
    for address in FAR.values():
        told = networks.room.run(
            "podman", "run", "--rm", f'--entrypoint=["{INTERPRETER}", "-I", "-c"]', image,
            REACH.format(address, PORT),
        )  # fmt: skip
        assert int(told.stdout) == REACHED, told


def test_quadlet_answers_the_inside_and_no_other(quadlet):
    networks, site = quadlet
    assert site.ask("v2/health/ready") is True
    answered_inside_and_nowhere_else(networks, site.port)


def test_quadlet_reaches_none_of_the_three(quadlet):
    networks, site = quadlet
    assert site.namespace(NAME) == site.namespace(f"{NAME}-door")
    for name, address in FAR.items():
        for target in (address, networks.at_machine(name)):
            assert site.ask(f"reach/{target}/{PORT}") != REACHED


@pytest.fixture(scope="module")
def compose(tmp_path_factory) -> Iterator[tuple[ThreeNetworks, Compose]]:
    folder = tmp_path_factory.mktemp("compose")
    with (
        engine_room("dockerd", "docker", "ip", shared=folder) as room,
        three_networks(room) as networks,
        docker_26(room),
        registry(room, folder) as address,
        composed(room, folder, address) as running,
    ):
        yield networks, running


class Compose:
    """A release that runs in the room's Docker."""

    def __init__(self, room: EngineRoom, folder, image: str) -> None:
        self.room, self.folder, self.image = room, folder, image

    def run(self, *command: str, check: bool = True):
        return self.room.run(
            "docker", "compose", "--project-directory", str(self.folder), *command, check=check
        )

    def ask(self, path: str) -> object:
        """What the room's own loopback is answered."""
        program = (
            "import sys, urllib.request as r; "
            "print(r.urlopen(sys.argv[1], timeout=60).read().decode())"
        )
        url = f"http://127.0.0.1:8080/{path}"
        done = self.room.run_here("python3", "-I", "-c", program, url)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def door_reaches(self, address: str) -> int:
        program = REACH.format(address, PORT)
        done = self.run("exec", "-T", "door", INTERPRETER, "-I", "-c", program)
        return int(done.stdout)


@contextlib.contextmanager
def registry(room: EngineRoom, folder) -> Iterator[str]:
    """A registry on the room's loopback, since Docker takes a digest from a registry only."""
    program = shutil.which("docker-registry")
    if not program:
        missing("docker-registry is not installed")
    (folder / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        "http: {addr: '127.0.0.1:5000'}\n"
    )
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["nsenter", f"--target={room.holder}", "--net", "--", str(program), "serve",
             str(folder / "registry.yml")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield "127.0.0.1:5000"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def composed(room: EngineRoom, folder, address: str) -> Iterator[Compose]:
    name = f"{address}/ml/filetype:1.4.0"
    entrypoint = f"ENTRYPOINT {json.dumps(python_entrypoint())}"
    room.run("docker", "import", "--change", entrypoint, str(python_archive(folder)), name)
    room.run("docker", "push", name)
    asked = ("docker", "inspect", "--format={{index .RepoDigests 0}}", name)
    digest = Digest.parse(room.run(*asked).stdout.strip().partition("@")[2])
    region = Region("site", "riyadh-lab")
    built = build_target(
        release_request(),
        jurisdiction("sa", "Saudi Arabia", (region,)),
        HARDWARE["x86-64-v3"],
        DeploymentPlatform.COMPOSE,
        regions=(region,),
        registry=f"{address}/ml",
        digest=digest,
    )
    files = render_target(built, release_request())
    assert yaml.safe_load(files["compose.yaml"])["networks"]["inside"]["internal"] is True
    (folder / "compose.yaml").write_bytes(files["compose.yaml"])
    running = Compose(room, folder, built.pinned_reference)
    try:
        running.run("up", "-d", "--wait")
        yield running
    finally:
        running.run("down", "-t", "2", check=False)


def test_an_ordinary_container_of_docker_reaches_all_three(compose):
    networks, running = compose
    for address in FAR.values():
        told = networks.room.run(
            "docker", "run", "--rm", "--entrypoint", INTERPRETER, running.image, "-I", "-c",
            REACH.format(address, PORT),
        )  # fmt: skip
        assert int(told.stdout) == REACHED, told


def test_compose_answers_the_inside_and_no_other(compose):
    networks, running = compose
    assert running.ask("v2/health/ready") is True
    answered_inside_and_nowhere_else(networks, 8080)


def test_compose_reaches_none_of_the_three(compose):
    networks, running = compose
    for name, address in FAR.items():
        for target in (address, networks.at_machine(name)):
            assert running.ask(f"reach/{target}/{PORT}") != REACHED
        assert running.door_reaches(address) != REACHED
