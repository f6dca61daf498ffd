"""A machine of a site for tests: a data folder, a profile, an installer under a chosen shell.

`StubSite` has an engine of files (stub_engine/docker), for everything that is decided before and
around containers. Real engines are in tests/integration/test_site_*.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engines import free_port
from site_releases import NAME, REGION
from small_release import SmallRelease

STUB = Path(__file__).parent / "stub_engine"
PROFILE = {
    "apiVersion": "packager/v1",
    "kind": "Site",
    "name": "riyadh-lab",
    "jurisdiction": "sa",
    "region": REGION,
    "engine": "docker",
    "accept": f"[{NAME}]",
    "listen": "127.0.0.1:18080",
    "keep": "2",
    "watch": "0",
}
DASH = ("dash",)
ASH = ("busybox", "ash")
STATE_KEYS = ("serving", "candidate", "fallback", "newest", "counter", "serial", "record")


@dataclass
class Done:
    code: int
    out: str
    err: str


@dataclass
class StubSite:
    """A site below `base`; `shell` runs the installer."""

    base: Path
    shell: tuple[str, ...] = DASH
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)  # nobody listens there, the engine least of all

    def __post_init__(self) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        self.profile()

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def home(self) -> Path:
        return self.data / NAME

    @property
    def stub(self) -> Path:
        return self.base / "stub"

    @property
    def site_file(self) -> Path:
        return self.base / "site.yaml"

    def profile(self, **changes: str) -> None:
        """Write the profile with some values changed."""
        listen = f"127.0.0.1:{self.port}"
        values = {**PROFILE, "listen": listen, "data": str(self.data), **changes}
        self.site_file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))

    def surroundings(self) -> dict[str, str]:
        path = f"{self.base / 'bin'}:{STUB}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "STUB": str(self.stub),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            **self.environment,
        }

    def command(self, release: SmallRelease | None, verb: str, *more: object) -> list[str]:
        script = installer(release.folder) if release else self.home / "install.sh"
        words = [*self.shell, script, verb, "--site", self.site_file]
        if release and verb == "install":
            words += ["--key", release.public_file]
        return [str(word) for word in (*words, *more)]

    def run(self, release: SmallRelease | None, verb: str, *more: object) -> Done:
        done = subprocess.run(
            self.command(release, verb, *more),
            env=self.surroundings(), capture_output=True, text=True, errors="replace", check=False,
            timeout=120,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def install(self, release: SmallRelease, *more: object) -> Done:
        return self.run(release, "install", *more)

    def status(self) -> dict:
        return json.loads(self.run(None, "status", "--json").out)

    def state(self) -> Mapping[str, str]:
        """The state file's values; asserts that it is whole."""
        from packager.site.state import parse_state

        data = (self.home / "run" / "state").read_bytes()
        parse_state(data)
        pairs = (line.partition("=") for line in data.decode().splitlines())
        return {key: value for key, _, value in pairs if key in STATE_KEYS}

    def containers(self) -> dict[str, bool]:
        """Name → whether it runs."""
        return {
            path.name: path.read_text().splitlines()[2] == "true"
            for path in (self.stub / "containers").glob("packager-*")
        }

    def tool(self, name: str, text: str) -> None:
        """A program of the machine that says what the test wants."""
        path = self.base / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def verdict(self, release: SmallRelease, **says: str) -> None:
        """What self-tests of a release's image say: test=…, watch=…"""
        folder = self.stub / "verdict"
        folder.mkdir(parents=True, exist_ok=True)
        image = release.built[0].image.config.digest.hex
        (folder / image).write_text("".join(f"{mode}={why}\n" for mode, why in says.items()))


def installer(folder: Path) -> Path:
    """The one installer of a release for one target; beside one for a cluster, the machine's."""
    found = sorted(folder.glob("targets/*/*/*/install.sh"))
    (script,) = [one for one in found if one.parent.name != "kubernetes"] or found
    return script
