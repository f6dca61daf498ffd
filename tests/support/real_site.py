"""A site with a real engine in a network namespace that has loopback and no route anywhere.

`by` is how the operator works: dash or busybox ash with install.sh, or `packager install`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from booted_room import booted_room
from peer_engines import EngineRoom, containerd, docker_26, engine_room
from site_machine import PROFILE, Done, installer
from site_releases import NAME
from small_release import SmallRelease

PORT = 18080
# The first is what is asked; the others have to be there.
TOOLS = {
    "docker": ("docker", "dockerd", "runc"),
    "podman": ("podman", "crun"),
    "quadlet": ("podman", "crun", "systemctl", "journalctl"),
    "containerd": ("ctr", "containerd", "runc"),
    "kubernetes": ("kubectl", "curl", "containerd", "ctr", "runc", "iptables"),
}
DAEMONS = {"docker": docker_26, "containerd": containerd}
SHELLS = {"dash": ("dash",), "ash": ("busybox", "ash")}
UNITS = "/etc/containers/systemd"
# Python is this machine's and systemd the room's: between them they have one folder of units, which
# a private view of /etc shows to Python, and which nobody else on this machine sees.
SEEING_UNITS = """
set -e
units=$1; scratch=$2; shift 2
mount --make-rprivate /
mount -t tmpfs etc "$scratch"
mkdir "$scratch/upper" "$scratch/work"
mount -t overlay etc -o "lowerdir=/etc,upperdir=$scratch/upper,workdir=$scratch/work" /etc
mkdir -p UNITS
mount --bind "$units" UNITS
exec "$@"
""".replace("UNITS", UNITS)


@dataclass
class RealSite:
    room: EngineRoom
    base: Path
    engine: str
    by: str
    asked_at: tuple[str, str] = (str(PORT), "127.0.0.1")

    @property
    def home(self) -> Path:
        return self.base / "data" / NAME

    @property
    def site_file(self) -> Path:
        return self.base / "site.yaml"

    def profile(self, **changes: str) -> None:
        values = {**PROFILE, "engine": self.engine, "data": str(self.base / "data"), "watch": "2"}
        lines = [f"{key}: {value}\n" for key, value in {**values, **changes}.items()]
        self.site_file.write_text("".join(lines))

    def command(self, verb: str, release: SmallRelease | None, *more: object) -> list[str]:
        """The whole command line of this machine."""
        site = ["--site", str(self.site_file)]
        key = ["--key", str(release.public_file)] if release else []
        rest = [str(word) for word in more]
        if self.by != "python":
            script = installer(release.folder) if release else self.home / "install.sh"
            return self.room.command(*SHELLS[self.by], str(script), verb, *site, *key, *rest)
        path = f"PATH={self.base / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin"
        socket = f"DOCKER_HOST=unix://{self.room.root}/run/docker.sock"
        given = [str(release.folder)] if release and not rest[:1] else []
        verbs = ["site", "resume"] if verb == "resume" else [verb]
        program = [sys.executable, "-m", "packager", *verbs, *given, *rest, *site, *key]
        inside = ["nsenter", f"--target={self.room.holder}", "--net", "--", *self.seeing_units()]
        return [*inside, "env", path, socket, "NO_COLOR=1", *program]

    def seeing_units(self) -> list[str]:
        """What stands before a program of this machine that writes units for the room's systemd."""
        if self.engine != "quadlet":
            return []
        folders = str(self.base / "units"), str(self.base / "etc")
        return ["unshare", "--mount", "sh", "-c", SEEING_UNITS, "seeing", *folders]

    def run(self, verb: str, release: SmallRelease | None = None, *more: object) -> Done:
        done = subprocess.run(
            self.command(verb, release, *more),
            capture_output=True, text=True, check=False, timeout=900, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def status(self) -> dict:
        done = self.run("status", None, "--json")
        found: dict = json.loads(done.out)
        assert done.code == (0 if found["ready"] else 1)
        return found

    def containers(self) -> dict[str, bool]:
        """Name → whether it runs, as the engine says."""
        if self.engine == "containerd":
            ctr = ("ctr", "--namespace", "packager")
            there = self.room.run(*ctr, "containers", "ls", "--quiet").stdout.split()
            tasks = self.room.run(*ctr, "tasks", "ls").stdout.splitlines()
            alive = {row.split()[0] for row in tasks if row.endswith("RUNNING")}
            return {name: name in alive for name in there}
        form = "{{.Names}} {{.State}}"
        label = f"label=dev.packager.site={NAME}"
        tool = TOOLS[self.engine][0]
        told = self.room.run(tool, "ps", "--all", "--filter", label, "--format", form)
        rows = (line.split() for line in told.stdout.splitlines())
        return {row[0]: row[1] == "running" for row in rows}

    def load(self) -> contextlib.AbstractContextManager[dict]:
        """Callers ask until the block ends; what came of it is in the dictionary then."""
        return self._asked(sys.executable, "load_client.py", *self.asked_at)

    def grpc_load(self, python: str, port: str) -> contextlib.AbstractContextManager[dict]:
        """The same by gRPC; `python` has a stock client."""
        return self._asked(python, "grpc_load_client.py", f"{self.asked_at[1]}:{port}")

    @contextlib.contextmanager
    def _asked(self, python: str, client: str, *words: str) -> Iterator[dict]:
        program = [python, str(Path(__file__).with_name(client)), *words]
        inside = ["nsenter", f"--target={self.room.holder}", "--net", "--"]
        asking = subprocess.Popen(
            [*inside, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        told: dict = {}
        try:
            yield told
        finally:
            out, _ = asking.communicate("", timeout=120)
        told.update(json.loads(out.splitlines()[-1]))


@contextlib.contextmanager
def real_site(engine: str, by: str, base: Path, releases: Path) -> Iterator[RealSite]:
    """`base` is the site's own folder, `releases` what the stick holds. Skips without engines."""
    with contextlib.ExitStack() as stack:
        make = booted_room if engine == "quadlet" else engine_room
        room = stack.enter_context(make(*TOOLS[engine], "busybox", shared=[base, releases]))
        if engine in DAEMONS:
            stack.enter_context(DAEMONS[engine](room))
        site = RealSite(room, base, engine, by)
        site.profile()
        if by == "python":
            (base / "bin").mkdir()
            for name in TOOLS[engine]:
                tool = base / "bin" / name
                words = " ".join(f"'{word}'" for word in room.command(name))
                tool.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
                tool.chmod(0o755)
            if engine == "quadlet":
                (base / "units").mkdir()
                (base / "etc").mkdir()
                room.run("mkdir", "--parents", UNITS)
                room.run("mount", "--bind", str(base / "units"), UNITS)
        routes = room.run("ip", "route", "show", "table", "main", check=False).stdout
        assert "default" not in routes
        yield site
