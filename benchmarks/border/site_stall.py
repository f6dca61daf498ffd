"""A site on containerd whose machine stands still for a while, as one does that has too much to do.

    python -m benchmarks.border.site_stall [SECONDS] [STATE_TIMEOUT]

Callers ask without pause; containerd's shims are stopped for SECONDS (SIGSTOP), long enough for its
restart monitor to come by, which looks every 10 s. containerd takes a shim that does not answer
within `io.containerd.timeout.task.state` (2s, or STATE_TIMEOUT, such as 60s) for one whose process
is unknown, and the monitor starts that anew. One JSON line: which containers were started again,
and what the callers met.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import real_site
from peer_engines import EngineRoom

from benchmarks.border.site_killing import Stick

CONFIG = 'version = 2\n[timeouts]\n  "io.containerd.timeout.task.state" = "{}"\n'


def main(seconds: float, state_timeout: str) -> None:
    @contextlib.contextmanager
    def told(room: EngineRoom) -> Iterator[None]:
        """containerd, with this patience."""
        file = room.root / "etc/containerd-patience.toml"
        file.write_text(CONFIG.format(state_timeout))
        words = ("containerd", "--log-level=warn", "--config=/etc/containerd-patience.toml")
        with room.serving(*words, until=("ctr", "version")):
            yield

    real_site.DAEMONS["containerd"] = told
    with tempfile.TemporaryDirectory(prefix="packager-stall-", dir="/var/tmp") as scratch:
        base, stick = Path(scratch) / "site", Stick(Path(scratch) / "stick")
        base.mkdir()
        stick.folder.mkdir()
        with real_site.real_site("containerd", "dash", base, stick.folder) as site:
            done = site.run("install", stick.release(0), stick.bundle(0))
            assert done.code == 0, done.err
            before = processes(site.room)
            with site.load() as met:
                stall(site.room, seconds)
                time.sleep(30)
            after = processes(site.room)
    failed = Counter(why.partition(": ")[2] for why in met.pop("failures"))
    answers = sum(met.pop("answers").values())
    row = {
        "stall": seconds, "state_timeout": state_timeout, "asked": answers + failed.total(),
        "failed": failed.total(), "why": failed.most_common(3), **met,
        "started_again": sorted(name for name in before if after.get(name) != before[name]),
    }  # fmt: skip
    print(json.dumps(row))


def processes(room: EngineRoom) -> dict[str, str]:
    """Name → number of its process, of all that run."""
    rows = room.run("ctr", "-n", "packager", "tasks", "ls").stdout.splitlines()[1:]
    return {name: number for name, number, state in map(str.split, rows) if state == "RUNNING"}


def stall(room: EngineRoom, seconds: float) -> None:
    shims = room.run("pgrep", "-f", "containerd-shim").stdout.split()
    room.run("kill", "-STOP", *shims)
    time.sleep(seconds)
    room.run("kill", "-CONT", *shims)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(float(words[0]) if words else 13.0, words[1] if words[1:] else "2s")
