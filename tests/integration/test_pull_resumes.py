"""A pull whose connection is cut, or whose process is killed, goes on where it was: by a range of a
real registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from bundles import make_bundle
from engines import docker_registry
from relay import relayed
from small_release import SmallRelease, build_targets, make_release

from packager.cli.main import main

pytestmark = pytest.mark.engine
MODEL = 24 << 20


@dataclass(frozen=True)
class Place:
    address: str
    release: SmallRelease
    bundle: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    base = tmp_path_factory.mktemp("pull")
    build = partial(build_targets, weights=os.urandom(MODEL))
    release = make_release(base, build=build)
    make_bundle(release, base / "release.tar")
    with docker_registry(base / "registry") as address:
        key = str(release.public_file)
        assert main(["push", str(release.folder), f"{address}/ml", "--key", key, "-q"]) == 0
        yield Place(address, release, base / "release.tar")


def command(place: Place, through: str, out: Path) -> list[str]:
    key = str(place.release.public_file)
    return ["pull", f"{through}/ml/filetype:1.4.0", "--key", key, "-o", str(out), "-q"]


def test_after_cuts_no_byte_comes_twice(place, tmp_path, capsys):
    out = tmp_path / "pulled.tar"
    with relayed(place.address, downward=True, cuts=[5 << 20, 12 << 20, 20 << 20]) as (
        relay,
        through,
    ):
        assert main(command(place, through, out)) == 0, capsys.readouterr().err
        assert relay.cuts == [], "the line was cut as often as asked"
    assert out.read_bytes() == place.bundle.read_bytes()
    assert relay.carried < place.bundle.stat().st_size + (
        4 << 20
    )  # what lay in buffers at the cuts


def test_after_a_kill_the_next_pull_goes_on(place, tmp_path, capsys):
    out = tmp_path / "pulled.tar"
    with relayed(place.address, downward=True, pause=0.01) as (relay, through):
        arguments = [sys.executable, "-m", "packager", *command(place, through, out)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE) as first:
            while relay.carried < MODEL // 2 and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
            assert first.stderr
            first.stderr.read()
        assert first.returncode == -signal.SIGKILL
        assert not out.exists()
        before = relay.carried
        relay.pause = 0.0
        assert main(command(place, through, out)) == 0, capsys.readouterr().err
    assert out.read_bytes() == place.bundle.read_bytes()
    # Half of it was on its way; what lay in the buffers of sockets then is fetched once more.
    assert relay.carried - before < place.bundle.stat().st_size - (4 << 20)
