"""Plain upgrades of a site one after another, on a real engine, while callers ask without pause.

    python -m benchmarks.border.site_upgrades ENGINE [BY] [UPGRADES] [RESULTS.jsonl]

ENGINE is docker, podman, quadlet or containerd; BY is dash, ash or python. Nobody kills anything
here: what is looked for is a request that fails because a version came and another went. Each
upgrade is one JSON line:

  failed    requests that did not get their answer; why: what they met, and how many did
  worst_ms  the longest that a caller waited
  restarts  processes of the version in service, less the first: somebody started it again

The last line of stdout says the sums.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from real_site import RealSite, real_site

from benchmarks.border.site_killing import Stick


def main(engine: str, by: str, upgrades: int, results: Path) -> None:
    rows = []
    with tempfile.TemporaryDirectory(prefix="packager-upgrades-", dir="/var/tmp") as scratch:
        base, stick = Path(scratch) / "site", Stick(Path(scratch) / "stick")
        base.mkdir()
        stick.folder.mkdir()
        with real_site(engine, by, base, stick.folder) as site:
            site.profile(watch="2")
            first = site.run("install", stick.release(0), stick.bundle(0))
            assert first.code == 0, first.err
            for number in range(1, upgrades + 1):
                rows.append(upgrade(site, stick, number))
                with results.open("a") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
    print(json.dumps(sums(rows)))


def upgrade(site: RealSite, stick: Stick, number: int) -> dict[str, object]:
    release, bundle = stick.release(number), stick.bundle(number)
    began = time.monotonic()
    with seen(site) as processes, site.load() as told:
        done = site.run("install", release, bundle)
    failed = told.pop("failures")
    answers = told.pop("answers")
    row = {
        "engine": site.engine, "by": site.by, "upgrade": number, "exit": done.code,
        "seconds": round(time.monotonic() - began, 1), "load": round(os.getloadavg()[0], 1),
        "asked": sum(answers.values()), "versions": len(answers), "failed": len(failed),
        "why": Counter(why.partition(": ")[2] for why in failed).most_common(5), **told,
        "restarts": sum(len(each) - 1 for each in processes.values()),
    }  # fmt: skip
    return row if done.code == 0 else {**row, "said": done.err[-600:]}


@contextlib.contextmanager
def seen(site: RealSite) -> Iterator[dict[str, set[str]]]:
    """The processes that each container of containerd had while the block ran; of others none."""
    found: dict[str, set[str]] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            told = site.room.run("ctr", "-n", "packager", "tasks", "ls", check=False).stdout
            for row in told.splitlines()[1:]:
                name, process, *_ = row.split()
                if not name.endswith("-probe") and process != "0":
                    found.setdefault(name, set()).add(process)

    watcher = threading.Thread(target=look)
    if site.engine == "containerd":
        watcher.start()
    try:
        yield found
    finally:
        over.set()
        if watcher.ident:
            watcher.join()


def sums(rows: list[dict]) -> dict[str, object]:
    return {
        "upgrades": len(rows),
        "done": sum(row["exit"] == 0 for row in rows),
        "asked": sum(row["asked"] for row in rows),
        "failed": sum(row["failed"] for row in rows),
        "worst_ms": max(row["worst_ms"] for row in rows),
        "restarts": sum(row["restarts"] for row in rows),
    }


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        words[0] if words else "containerd",
        words[1] if words[1:] else "dash",
        int(words[2]) if words[2:] else 20,
        Path(words[3]) if words[3:] else Path("benchmarks/border/results/site_upgrades.jsonl"),
    )
