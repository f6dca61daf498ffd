"""Engines of the Debian 13 tree (podman, containerd, Docker 26, umoci …) in a room of their own.

    with engine_room("podman", shared=tmp_path) as room:
        room.run("podman", "load", "--input", str(tmp_path / "image.tar"))
        room.run("podman", "run", "--detach", "--publish", "8080:8080", "localhost/x")
        room.run_here("curl", "http://127.0.0.1:8080/")  # this machine's curl, its network

    with engine_room("dockerd", "docker", shared=tmp_path) as room, docker_26(room):
        room.run("docker", "load", "--input", ...)

    with engine_room("containerd", "ctr", shared=tmp_path) as room, containerd(room):
        room.run("ctr", "images", "import", ...)

A room is a mount, process and network namespace. Its root is an overlay over the tree, so a test
may write `/etc/containers/policy.json` or install a unit, and the tree stays as it is; /proc, /sys
with the control groups, /dev and an empty /run are mounted; what engines store lies in a scratch
folder. Folders named in `shared` are there under their own path. Nothing outlives the room: when
its first process goes, the kernel ends all others and takes the mounts along.

The network is private: loopback alone, with ports that nobody else has. `network="host"` gives
this machine's own, to reach a registry on its loopback; engines must then make no bridge there
(`podman run --network host`). `podman run` sets up its bridge inside the private network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engines import missing
from peers import PEERS_ROOT

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Engines store images on overlayfs, which cannot lie on an overlay: each gets a plain folder.
_STORES = ("var/lib/containers", "var/lib/containerd", "var/lib/docker", "var/tmp")
_FURNISH = """
set -e
tree=$1; scratch=$2; network=$3; shift 3
root=$scratch/root
mount --make-rprivate /
mount -t overlay room -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
# crun takes the first or the second kind of control groups, not both at once.
umount -l "$root/sys/fs/cgroup/unified" 2>/dev/null || true
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mkdir -p "$root/run/lock"
for store in $STORES; do
  mkdir -p "$root/$store" "$scratch/$store"
  mount --bind "$scratch/$store" "$root/$store"
done
for folder in "$@"; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
done
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
[ "$network" = host ] || chroot "$root" ip link set lo up
# The room's root becomes the root of its namespace: whoever enters a container by its namespaces
# (`exec`, health checks) would else find this machine's root there.
mkdir -p "$root/run/before"
cd "$root"
pivot_root . run/before
exec chroot . sh -c \
  'umount -l /run/before; rmdir /run/before; echo ready; exec tini-static -s -- sleep infinity'
"""


@dataclass
class EngineRoom:
    """A room that is open. Paths of `shared` folders are the same inside and outside."""

    scratch: Path
    holder: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The room's root as this machine sees it: to read or write single files of it."""
        return Path(f"/proc/{self.holder}/root")

    def command(self, *command: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """The whole command line that runs `command` inside, for `subprocess`."""
        told = {"HOME": "/root", "PATH": _PATH, "LC_ALL": "C.UTF-8"}
        told["PODMAN_IGNORE_CGROUPSV1_WARNING"] = "1"
        told |= {**self.environment, **(environment or {})}
        return [
            *self._enter("--mount", "--pid", "--net"),
            "/usr/bin/env", "-i",
            *(f"{name}={value}" for name, value in told.items()), *command,
        ]  # fmt: skip

    def run(
        self,
        *command: str,
        check: bool = True,
        timeout: float = 120,
        environment: Mapping[str, str] | None = None,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool of the tree to its end, with `text` as its standard input.

        With `check`, a failure is an AssertionError with what the tool said.
        """
        done = subprocess.run(
            self.command(*command, environment=environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            input=text,
        )
        if check:
            story = f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, story
        return done

    def run_here(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine in the room's network; never raises for its status."""
        return subprocess.run(
            [*self._enter("--net"), *command],
            capture_output=True, text=True, errors="replace", check=False, timeout=timeout,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @contextlib.contextmanager
    def serving(self, *command: str, until: Sequence[str], seconds: float = 60) -> Iterator[None]:
        """A daemon, until the block ends; ready when the command `until` succeeds inside."""
        log = self.scratch / f"{Path(command[0]).name}.log"
        with log.open("wb") as story:
            daemon = subprocess.Popen(
                self.command(*command), stdin=subprocess.DEVNULL, stdout=story, stderr=story
            )
        try:
            last = time.monotonic() + seconds
            while self.run(*until, check=False).returncode:
                told = log.read_text(errors="replace")[-3000:]
                assert daemon.poll() is None, f"{command[0]} ended: {told}"
                assert time.monotonic() < last, f"{command[0]} is not ready: {told}"
                time.sleep(0.1)
            yield
        finally:
            daemon.terminate()
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _enter(self, *spaces: str) -> list[str]:
        return ["nsenter", f"--target={self.holder}", *spaces, "--"]


@contextlib.contextmanager
def engine_room(
    *tools: str,
    shared: Path | Sequence[Path] = (),
    network: Literal["private", "host"] = "private",
    environment: Mapping[str, str] | None = None,
) -> Iterator[EngineRoom]:
    """A room with the tools named; skips, or fails where engines are required, without them."""
    tree = PEERS_ROOT.resolve()
    for tool in (*tools, "tini-static"):
        if not any((tree / folder / tool).exists() for folder in ("usr/bin", "usr/sbin")):
            missing(f"{tool} is not in {PEERS_ROOT}: run tests/peers/install.sh")
    if os.geteuid() != 0:
        missing("a room for engines needs root")
    folders = [shared] if isinstance(shared, Path) else list(shared)
    scratch = Path(tempfile.mkdtemp(prefix="packager-room-", dir="/var/tmp"))
    for name in ("root", "upper", "work"):
        (scratch / name).mkdir()
    spaces = ["--mount", "--pid", *(["--net"] if network == "private" else [])]
    holder = subprocess.Popen(
        ["unshare", *spaces, "--fork", "--kill-child", "sh", "-c", _FURNISH, "furnish",
         str(tree), str(scratch), network, *(str(folder.resolve()) for folder in folders)],
        env={"PATH": _PATH, "STORES": " ".join(_STORES)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stderr
        if holder.stdout.readline().strip() != "ready":
            missing(f"no room can be made here: {holder.stderr.read()[-500:]}")
        child = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
        yield EngineRoom(scratch, int(child), environment or {})
    finally:
        holder.kill()
        holder.communicate()
        _remove(scratch)


@contextlib.contextmanager
def docker_26(room: EngineRoom) -> Iterator[None]:
    """Docker's daemon in the room, for `room.run("docker", …)`; its image store is its own."""
    with room.serving("dockerd", "--log-level=warn", until=("docker", "version")):
        yield


@contextlib.contextmanager
def containerd(room: EngineRoom) -> Iterator[None]:
    """containerd in the room, for `room.run("ctr", …)`."""
    with room.serving("containerd", "--log-level=warn", until=("ctr", "version")):
        yield


def _remove(scratch: Path) -> None:
    """The kernel frees mounts after the last process of the room; until then folders are busy."""
    for _ in range(50):
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            return
        time.sleep(0.1)
