"""Finds real engines for the tests, or says why a test is skipped.

With PACKAGER_REQUIRE_ENGINES=1 a missing engine fails the test instead of skipping it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from packager.oci.docker_engine import Engine, NoEngine, engine

# A Debian 13 tree with skopeo and cosign, made by tests/peers/install.sh.
DEBIAN_13 = Path(os.environ.get("PACKAGER_PEERS_ROOT", "/var/lib/packager-peers"))


def missing(reason: str) -> None:
    """Skip, or fail where engines are required."""
    if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1":
        pytest.fail(f"an engine is required: {reason}")
    pytest.skip(reason)


def docker_engine() -> Engine:
    """The Docker engine of this machine."""
    found = engine()
    if isinstance(found, NoEngine):
        missing(found.reason)
        raise AssertionError("missing() skips or fails")
    return found


def tool(name: str) -> list[str]:
    """The command of a tool: of this machine, else of the Debian 13 tree beside it."""
    if found := shutil.which(name):
        return [found]
    if (DEBIAN_13 / "usr/bin" / name).exists() and os.geteuid() == 0:
        return ["chroot", str(DEBIAN_13), f"/usr/bin/{name}"]
    missing(f"{name} is not installed")
    raise AssertionError("missing() skips or fails")


def static_program(source: Path, into: Path) -> bytes:
    """A C program compiled to stand alone in an image."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        missing("no C compiler")
        raise AssertionError("missing() skips or fails")
    subprocess.run([compiler, "-static", "-O1", "-s", "-o", into, source], check=True)
    return into.read_bytes()


def shared_library(source: str, into: Path) -> None:
    """A C source compiled to a shared library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        missing("no C compiler")
        raise AssertionError("missing() skips or fails")
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-o", str(into), "-"]
    subprocess.run(command, check=True, input=source.encode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(address: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def docker_registry(folder: Path, password_file: Path | None = None) -> Iterator[str]:
    """A real registry on loopback with its storage in `folder`; yields `127.0.0.1:PORT`."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if not program:
        missing("docker-registry is not installed")
        raise AssertionError("missing() skips or fails")
    address = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    access = f"auth: {{htpasswd: {{realm: test, path: {password_file}}}}}" if password_file else ""
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '{address}'}}\n{access}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        for _ in range(200):
            if answers(address):
                break
            time.sleep(0.05)
            assert process.poll() is None, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(10)
