"""What an installation takes, and what of it is the installer's own.

    python -m benchmarks.border.install_time [docker|podman] [dash|ash|python] [MEBIBYTES]

A version is in service; the next one, with weights of so many MiB, is installed from a bundle. The
story that the installer tells is stamped as it comes, and every call of the engine is timed by a
wrapper in its place, so that each second belongs to one of:

  load     the engine takes the image
  server   from the server's start until it was ready and gave its known answers
  watch    the seconds that the site asked for
  engine   other calls of the engine: start, stop, inspect, the container of the self-test
  own      everything else: verify, unpack, hash, decide, record

Own time may be 5 % of the load, or 2 s where that is more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from bundles import make_bundle
from real_site import RealSite, real_site
from site_releases import site_release
from small_release import SmallRelease

from benchmarks.border.figures import Figure

WATCH = 2
SHARE, SECONDS = 0.05, 2.0
WAYS = tuple((engine, by) for engine in ("docker", "podman") for by in ("dash", "ash", "python"))
TIMED = """#!/bin/sh
began=$(date +%s.%N)
{engine} "$@"
status=$?
echo "$began $(date +%s.%N) $*" | tr '\\n' ' ' | cut -c 1-200 >>{log}
exit $status
"""


def stamped(command: list[str], environment: dict[str, str]) -> list[tuple[float, str]]:
    """Each line that a command tells, with the time at which it came."""
    # Ahead of others where this may be asked for: on a busy machine it is the installer's own time
    # that is meant, not its waiting. Not at real-time priority: podman's children inherit it, and a
    # control group of version 1 takes no such process.
    first = ["nice", "-n", "-20"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [*first, *command],
        env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr
    told = [(time.time(), "began")]
    told += [(time.time(), line.rstrip()) for line in process.stderr]
    code = process.wait()
    told.append((time.time(), "ended"))
    assert code == 0, told
    return told


def calls_of(log: Path) -> list[tuple[float, float, str]]:
    """Calls of the engine: start, end, words."""
    rows = (line.split(" ", 2) for line in log.read_text().splitlines())
    return [(float(row[0]), float(row[1]), row[2]) for row in rows]


def between(told: list[tuple[float, str]], first: str, last: str) -> tuple[float, float]:
    begin = next(at for at, line in told if first in line)
    return begin, next(at for at, line in told if at > begin and last in line)


def measure(site: RealSite, release: SmallRelease, bundle: Path) -> dict[str, float]:
    log = site.base / "calls"
    log.unlink(missing_ok=True)
    told = stamped(site.command("install", release, bundle), dict(os.environ))
    server = between(told, "start ", "switch to")
    watched = between(told, "watch for", "ended")[0]
    # Each span takes what no earlier one took, so that nothing is counted twice.
    spans = {"server": [server], "watch": [(watched, watched + WATCH)], "load": [], "engine": []}
    for begin, end, words in calls_of(log):
        spans["load" if words.startswith("load") else "engine"].append((begin, end))
    seconds = {}
    taken: list[tuple[float, float]] = []
    for name, each in spans.items():
        before = covered(taken)
        taken += each
        seconds[name] = covered(taken) - before
    total = told[-1][0] - told[0][0]
    return {"total": total, **seconds, "own": total - covered(taken)}


def covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the spans."""
    seconds, edge = 0.0, 0.0
    for begin, end in sorted(spans):
        seconds += max(0.0, end - max(begin, edge))
        edge = max(edge, end)
    return seconds


def figure(engine: str, by: str, mebibytes: int) -> Figure:
    """Our own seconds of one installation by one way."""
    with tempfile.TemporaryDirectory(prefix="packager-install-", dir="/var/tmp") as scratch:
        base, stick = Path(scratch) / "site", Path(scratch) / "stick"
        base.mkdir()
        stick.mkdir()
        weights = os.urandom(mebibytes << 20)
        first = site_release(stick / "1.0.0", "1.0.0", 1.0)
        second = site_release(
            stick / "1.1.0", "1.1.0", 2.0, key_file=first.key_file, weights=weights
        )
        bundle = stick / "1.1.0.tar"
        make_bundle(second, bundle)
        with real_site(engine, by, base, stick) as site:
            site.profile(watch=str(WATCH))
            wrap(site)
            done = site.run("install", first)
            assert done.code == 0, done.err
            found = measure(site, second, bundle)
        told = ", ".join(f"{name} {value:.2f}" for name, value in found.items() if name != "own")
        return Figure(
            f"install by {by} on {engine}, {bundle.stat().st_size >> 20} MiB: our own seconds",
            found["own"], max(SHARE * found["load"], SECONDS), told=told,
        )  # fmt: skip


def wrap(site: RealSite) -> None:
    """The engine's command is a program of ours that keeps the time of each call."""
    log = site.base / "calls"
    if site.by == "python":
        tool = site.base / "bin" / site.engine
        real = tool.read_text().splitlines()[1].removeprefix("exec ").removesuffix(' "$@"')
    else:
        tool = site.room.root / "usr/local/bin" / site.engine
        real = f"/usr/bin/{site.engine}"
        site.room.environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    tool.write_text(TIMED.format(engine=real, log=log))
    tool.chmod(0o755)


if __name__ == "__main__":
    words = sys.argv[1:]
    engine, by = words[:2] or ["docker", "dash"]
    print(figure(engine, by, int(words[2]) if len(words) > 2 else 256))
