"""A pull whose connection is cut, or whose process is killed, goes on where it was: by a range of a
real registry."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from bundles import make_bundle
from engines import docker_registry
from small_release import SmallRelease, build_targets, make_release

from packager.cli.main import main

pytestmark = pytest.mark.engine
MODEL = 24 << 20


@dataclass
class Relay:
    """To a registry; counts what comes down, cuts the line at these counts, and is slow if told."""

    upstream: tuple[str, int]
    cuts: list[int] = field(default_factory=list)
    pause: float = 0.0
    down: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.upstream) as server:
            up = threading.Thread(target=_copy, args=(client, server), daemon=True)
            up.start()
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    client.sendall(data)
                    time.sleep(self.pause)
                    if self.cut_after(len(data)):
                        break
            for end in (server, client):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            up.join(10)

    def cut_after(self, count: int) -> bool:
        with self.lock:
            self.down += count
            if self.cuts and self.down >= self.cuts[0]:
                self.cuts.pop(0)
                return True
        return False


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextlib.contextmanager
def relayed(address: str, **how) -> Iterator[tuple[Relay, str]]:
    host, _, port = address.partition(":")
    relay = Relay((host, int(port)), **how)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=relay.serve, args=(listener,), daemon=True)
        serving.start()
        try:
            yield relay, f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    serving.join(10)


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
    with relayed(place.address, cuts=[5 << 20, 12 << 20, 20 << 20]) as (relay, through):
        assert main(command(place, through, out)) == 0, capsys.readouterr().err
        assert relay.cuts == [], "the line was cut as often as asked"
    assert out.read_bytes() == place.bundle.read_bytes()
    assert relay.down < place.bundle.stat().st_size + (4 << 20)  # what lay in buffers at the cuts


def test_after_a_kill_the_next_pull_goes_on(place, tmp_path, capsys):
    out = tmp_path / "pulled.tar"
    with relayed(place.address, pause=0.01) as (relay, through):
        arguments = [sys.executable, "-m", "packager", *command(place, through, out)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE) as first:
            while relay.down < MODEL // 2 and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
            assert first.stderr
            first.stderr.read()
        assert first.returncode == -signal.SIGKILL
        assert not out.exists()
        before = relay.down
        relay.pause = 0.0
        assert main(command(place, through, out)) == 0, capsys.readouterr().err
    assert out.read_bytes() == place.bundle.read_bytes()
    # Half of it was on its way; what lay in the buffers of sockets then is fetched once more.
    assert relay.down - before < place.bundle.stat().st_size - (4 << 20)
