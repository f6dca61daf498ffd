"""A rendered Quadlet target that runs: what podman's generator makes of it, started line by line.

The `podman run` lines are started as they are, less what only a running systemd can do
(`--cgroups=split`, notifications, the journal, timers for health checks). The door is started by
systemd-socket-activate, which does what the .socket unit says: it listens, and hands the socket
over with the first connection.
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

from built_targets import HARDWARE, build_target, jurisdiction, release_request
from peer_engines import EngineRoom
from python_image import python_archive, python_entrypoint
from units import parse_unit

from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, Region
from packager.render.rendering import render_target

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
    user: tuple[str, ...] = ()

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
        asked = (*self.user, "podman", "inspect", "--format={{.State.Pid}}", container)
        return self.room.run(*asked).stdout.strip()

    def namespace(self, container: str) -> str:
        """Its network namespace, by the kernel's name."""
        return self.room.run("readlink", f"/proc/{self.process(container)}/ns/net").stdout


@contextmanager
def started(room: EngineRoom, folder: Path, user: tuple[str, ...] = ()) -> Iterator[Site]:
    """The release runs until the block ends; `user` is a command that runs another as a user."""
    files, digest = site_files(room, folder, user)
    _, services = generate(room, files, folder / "started", *(["--user"] if user else []))
    server = without_systemd(command_of(services[f"{NAME}.service"]))
    door = without_systemd(command_of(services[f"{NAME}-door.service"]))
    (listen,) = parse_unit(files[f"{NAME}-door.socket"])["Socket"]["ListenStream"]
    room.run(*user, *server)
    door.remove("-d")
    activate = room.command(*user, "systemd-socket-activate", "-l", listen, *door)
    with (folder / "door.log").open("wb") as log:
        waiting = subprocess.Popen(activate, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        site = Site(room, int(listen.rpartition(":")[2]), digest, user)
        for _ in range(100):
            if b"Listening on" in (folder / "door.log").read_bytes():
                break
            time.sleep(0.05)
        yield site
    finally:
        room.run(*user, "podman", "stop", "--time=5", f"{NAME}-door", check=False)
        try:
            waiting.wait(20)
        except subprocess.TimeoutExpired:  # nobody came, so that there is no door to stop
            waiting.kill()
            waiting.wait()
        room.run(*user, "podman", "rm", "--force", "--time=1", NAME, f"{NAME}-door", check=False)


def site_files(
    room: EngineRoom, folder: Path, user: tuple[str, ...] = ()
) -> tuple[dict[str, bytes], Digest]:
    """The files of a target whose image lies in podman's store, and that image's digest."""
    archive = python_archive(folder)
    entrypoint = f"ENTRYPOINT {json.dumps(python_entrypoint())}"
    repository = "registry.example.sa/ml/filetype"
    room.run(*user, "podman", "import", "--change", entrypoint, str(archive), f"{repository}:1.4.0")
    told = room.run(
        *user, "podman", "image", "inspect", "--format={{.Digest}}", f"{repository}:1.4.0"
    )
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
    return render_target(built, request), digest
