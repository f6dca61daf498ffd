"""Rendered Quadlet files: read by podman's own generator, started by the line that it makes.

The generator of podman 5.4 turns the files into services; their `podman run` lines are started as
they are, less what only a running systemd can do (`--cgroups=split`, notifications, the journal,
timers for health checks). The door is started by systemd-socket-activate, which does what the
.socket unit says: it listens, and hands the socket over with the first connection.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from built_targets import HARDWARE, JURISDICTIONS, build_target, jurisdiction, release_request
from built_targets import sample_target as sample
from peer_engines import EngineRoom, engine_room
from python_image import python_archive, python_entrypoint
from units import parse_unit

from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, Region
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

GENERATOR = "/usr/lib/systemd/system-generators/podman-system-generator"
NAME = "filetype-sa-x86-64-v3"
REACHED = 0
# Only systemd as the first process can do these.
_BY_SYSTEMD = (
    "--cgroups=split",
    "--sdnotify=healthy",
    "--sdnotify=conmon",
    "--replace",
    "--rm",
    "--cidfile=",
)
_BY_SYSTEMD_WITH_VALUE = (
    "--log-driver", "--health-cmd", "--health-interval", "--health-on-failure",
    "--health-retries", "--health-start-period", "--health-timeout",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("quadlet")


@pytest.fixture(scope="module")
def room(folder) -> Iterator[EngineRoom]:
    with engine_room("podman", "systemd-socket-activate", shared=folder) as found:
        yield found


def generate(room: EngineRoom, files: dict[str, bytes], into: Path, *options: str):
    """What the generator says to files in a folder: its exit, services by name, and complaints."""
    into.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (into / name).write_bytes(data)
    done = room.run(
        GENERATOR, "--dryrun", *options, environment={"QUADLET_UNIT_DIRS": str(into)}, check=False
    )
    parts = re.split(r"^---(\S+\.service)---$", done.stdout, flags=re.MULTILINE)
    services = dict(zip(parts[1::2], parts[2::2], strict=True))
    return done, services


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


def command_of(service: str) -> list[str]:
    """The words of `ExecStart=`, as systemd reads them."""
    (line,) = parse_unit(service.encode())["Service"]["ExecStart"]
    words = shlex.split(line.replace("\\n", "\n"))
    return [word.replace("%%", "%").replace("$$", "$") for word in words]


def without_systemd(command: list[str]) -> list[str]:
    kept = []
    words = iter(command)
    for word in words:
        if word in _BY_SYSTEMD_WITH_VALUE:
            next(words)
        elif not word.startswith(_BY_SYSTEMD):
            kept.append(word)
    return kept


@dataclass(frozen=True)
class Site:
    """A room where the release runs. `ask` is a client of the same network as systemd's socket."""

    room: EngineRoom
    port: int
    digest: Digest

    def ask(self, path: str) -> object:
        program = (
            "import sys, urllib.request as r; "
            "print(r.urlopen(sys.argv[1], timeout=60).read().decode())"
        )
        url = f"http://127.0.0.1:{self.port}/{path}"
        done = self.room.run_here("python3", "-I", "-c", program, url)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def process(self, container: str) -> str:
        """The container's first process, as the room counts them."""
        asked = ("podman", "inspect", "--format={{.State.Pid}}", container)
        return self.room.run(*asked).stdout.strip()

    def namespace(self, container: str) -> str:
        """Its network namespace, by the kernel's name."""
        return self.room.run("readlink", f"/proc/{self.process(container)}/ns/net").stdout


@contextmanager
def started(room: EngineRoom, folder: Path) -> Iterator[Site]:
    archive = python_archive(folder)
    entrypoint = f"ENTRYPOINT {json.dumps(python_entrypoint())}"
    repository = "registry.example.sa/ml/filetype"
    room.run("podman", "import", "--change", entrypoint, str(archive), f"{repository}:1.4.0")
    told = room.run("podman", "image", "inspect", "--format={{.Digest}}", f"{repository}:1.4.0")
    digest = Digest.parse(told.stdout.strip())
    region = Region("site", "riyadh-lab")
    request = release_request()
    built = build_target(
        request,
        jurisdiction("sa", "Saudi Arabia", (region,)),
        HARDWARE["x86-64-v3"],
        DeploymentPlatform.QUADLET,
        regions=(region,),
        registry="registry.example.sa/ml",
        digest=digest,
    )
    files = render_target(built, request)
    _, services = generate(room, files, folder / "started")
    server = without_systemd(command_of(services[f"{NAME}.service"]))
    door = without_systemd(command_of(services[f"{NAME}-door.service"]))
    (listen,) = parse_unit(files[f"{NAME}-door.socket"])["Socket"]["ListenStream"]
    room.run(server[0], *server[1:])
    door.remove("-d")
    activate = room.command("systemd-socket-activate", "-l", listen, *door)
    with (folder / "door.log").open("wb") as log:
        waiting = subprocess.Popen(activate, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        site = Site(room, int(listen.rpartition(":")[2]), digest)
        for _ in range(100):
            if b"Listening on" in (folder / "door.log").read_bytes():
                break
            time.sleep(0.05)
        yield site
    finally:
        room.run("podman", "stop", "--time=5", f"{NAME}-door", check=False)
        waiting.wait(30)
        room.run("podman", "rm", "--force", "--time=1", NAME, f"{NAME}-door", check=False)


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
