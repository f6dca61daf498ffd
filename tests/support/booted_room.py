"""A room of the peers whose first process is systemd: a machine that booted, without a machine.

It has its own mounts, processes, network, name and control groups, so that units start, restart and
are stopped by systemd itself. systemd 257 is told to take control groups of the first kind where
this machine has these. Filters by address (`IPAddressDeny=`) need the second kind, and are not
there then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engines import missing
from peer_engines import EngineRoom
from peers import PEERS_ROOT

_GROUPS = Path("/sys/fs/cgroup")
_SECOND_KIND = (_GROUPS / "cgroup.controllers").exists()
_INIT = "/usr/lib/systemd/systemd"
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# What Debian's packages would start, and nobody asked for.
_MASKED = (
    "tmp.mount", "docker.service", "docker.socket", "containerd.service",
    "systemd-logind.service", "console-getty.service", "getty@.service",
    "systemd-modules-load.service",
    "podman-auto-update.timer", "podman-restart.service", "apt-daily.timer", "dpkg-db-backup.timer",
    "systemd-networkd.service", "systemd-resolved.service", "systemd-tmpfiles-clean.timer",
)  # fmt: skip
_FURNISH = """
set -e
tree=$1; scratch=$2; shift 2
root=$scratch/root
mount --make-rprivate /
mount -t overlay room -o "lowerdir=$tree,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs run "$root/run" -o mode=755
mount -t tmpfs dev "$root/dev" -o mode=755
for node in null zero full random urandom tty fuse; do
  [ -e "/dev/$node" ] || continue
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666,mode=620
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs shm "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs groups "$root/sys/fs/cgroup" -o mode=755
  for kind in $KINDS; do
    mkdir "$root/sys/fs/cgroup/$kind"
    case $kind in
      systemd) mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/$kind" ;;
      unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/$kind" ;;
      *) mount -t cgroup -o "$kind" cgroup "$root/sys/fs/cgroup/$kind" ;;
    esac
  done
  # podman wants a place in the second kind; crun takes it only where that kind controls nothing.
  controls="$root/sys/fs/cgroup/unified/cgroup.controllers"
  [ ! -e "$controls" ] || mount --bind /dev/null "$controls"
fi
for store in var/lib/containers var/tmp; do
  mkdir -p "$root/$store" "$scratch/$store"
  mount --bind "$scratch/$store" "$root/$store"
done
for folder in "$@"; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
done
mkdir -p "$root/etc/systemd/system" "$root/run/before"
for unit in $MASKED; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
cd "$root"
pivot_root . run/before
umount -l /run/before
exec env -i container=packager PATH="$PATH" SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 \
  SYSTEMD_PROC_CMDLINE="$ASKED" INIT --system --unit=multi-user.target
""".replace("INIT", _INIT)


@contextlib.contextmanager
def booted_room(*tools: str, shared: Path | Sequence[Path] = ()) -> Iterator[EngineRoom]:
    """A room with the tools named, booted; skips, or fails where engines are required, without."""
    tree = PEERS_ROOT.resolve()
    for tool in tools:
        if not any((tree / folder / tool).exists() for folder in ("usr/bin", "usr/sbin")):
            missing(f"{tool} is not in {PEERS_ROOT}: run tests/peers/install.sh")
    if not (tree / _INIT.lstrip("/")).exists():
        missing(f"systemd is not in {PEERS_ROOT}: run tests/peers/install.sh")
    if os.geteuid() != 0:
        missing("booting a room needs root")
    folders = [shared] if isinstance(shared, Path) else list(shared)
    scratch = Path(tempfile.mkdtemp(prefix="packager-boot-", dir="/var/tmp"))
    for name in ("root", "upper", "work"):
        (scratch / name).mkdir()
    groups = _own_groups(scratch.name)
    told = {
        "PATH": _PATH,
        "MASKED": " ".join(_MASKED),
        "KINDS": " ".join(group.parent.name for group in groups),
        "ASKED": "" if _SECOND_KIND else "systemd.unified_cgroup_hierarchy=0",
    }
    spaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
    with (scratch / "console").open("wb") as console:
        holder = subprocess.Popen(
            ["unshare", *spaces, "--fork", "--kill-child", "sh", "-c", _FURNISH, "furnish",
             str(tree), str(scratch), *(str(folder.resolve()) for folder in folders)],
            env=told, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            preexec_fn=lambda: _join(groups),
        )  # fmt: skip
    try:
        room = EngineRoom(scratch, _first_process(holder, scratch))
        _wait_until_up(room, holder)
        yield room
    finally:
        holder.kill()
        holder.wait()
        for group in groups:
            _dissolve(group)
        shutil.rmtree(scratch, ignore_errors=True)


def _own_groups(name: str) -> list[Path]:
    """A control group of its own in each hierarchy, which becomes the room's root."""
    if _SECOND_KIND:
        (_GROUPS / name).mkdir()
        return [_GROUPS / name]
    groups = []
    for root in sorted(_GROUPS.iterdir()):
        if not (root / "cgroup.procs").exists():
            continue
        group = root / name
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):  # empty until they are said
            if (group / setting).exists():
                (group / setting).write_text((root / setting).read_text())
        groups.append(group)
    return groups


def _join(groups: list[Path]) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _first_process(holder: subprocess.Popen[bytes], scratch: Path) -> int:
    """systemd's number, as this machine counts; the shell before it has the same."""
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    for _ in range(1200):
        if holder.poll() is not None:
            missing(f"no room can be booted here: {(scratch / 'console').read_text()[-500:]}")
        for child in children.read_text().split():
            if Path(f"/proc/{child}/exe").readlink().as_posix().endswith(_INIT):
                return int(child)
        time.sleep(0.05)
    raise AssertionError(f"systemd was not started: {(scratch / 'console').read_text()[-500:]}")


def _wait_until_up(room: EngineRoom, holder: subprocess.Popen[bytes]) -> None:
    told = ""
    for _ in range(600):
        told = room.run("systemctl", "is-system-running", check=False).stdout.strip()
        if told in ("running", "degraded"):
            return
        assert holder.poll() is None, (room.scratch / "console").read_text()[-2000:]
        time.sleep(0.1)
    raise AssertionError(f"systemd is {told or 'not to be asked'} after a minute")


def _dissolve(group: Path) -> None:
    """Remove a control group with all below it; the kernel is done with the processes soon."""
    for _ in range(50):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if not group.exists():
            return
        time.sleep(0.1)
