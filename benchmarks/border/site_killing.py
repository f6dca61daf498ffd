"""SIGKILL at random moments of a site, on a real engine and under load.

    python -m benchmarks.border.site_killing [MOMENTS] [docker|podman] [dash|ash]

Installs from folders, bundles and deltas, rolls back and resumes, each killed with all its
processes at a random moment, while callers ask without pause. After every kill the state file is
whole and the version that it names runs; every fourth time the next command must complete and
nothing may be left half done. Prints one JSON line.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from bundles import make_bundle, trusting
from real_site import RealSite, real_site
from site_killing import kill_while
from site_releases import NAME, site_release

from packager import pipeline
from packager.progress import SILENT
from packager.site.history import read_history
from packager.site.state import read_state


def what_holds(site: RealSite) -> None:
    state = read_state(site.home)
    assert state is not None
    assert state.serving is not None, "a version is in service"
    alive = site.containers()
    assert alive[state.serving.name], (state.serving, alive)
    assert alive[f"packager-{NAME}-door"]


def settled(site: RealSite) -> None:
    done = site.run("resume")
    assert done.code == 0, done.err
    status = site.status()
    assert status["ready"], status
    assert (status["candidate"], status["fallback"]) == ("", ""), status
    names = {slot["name"] for slot in status["slots"]} | {f"packager-{NAME}-door"}
    assert set(site.containers()) == names, (site.containers(), status)
    read_history(site.home)
    # Nothing is half unpacked, and of each version that is gone its files are, too.
    assert not list(site.home.glob("incoming*")), "what was unpacked is put away"
    slots = {slot["name"] for slot in status["slots"]}
    assert {path.name for path in (site.home / "slots").iterdir()} == slots


def main(moments: int, engine: str, shell: str) -> None:
    draw = random.Random(2026)
    with tempfile.TemporaryDirectory(prefix="packager-killing-", dir="/var/tmp") as scratch:
        base, stick = Path(scratch) / "site", Path(scratch) / "stick"
        base.mkdir()
        stick.mkdir()
        first = site_release(stick / "1.0.0", "1.0.0", 1.0)
        releases = [first] + [
            site_release(stick / f"1.{n}.0", f"1.{n}.0", 1.0 + n, key_file=first.key_file)
            for n in (1, 2, 3)
        ]
        bundles, deltas = [], []
        for number, release in enumerate(releases):
            bundles.append(stick / f"{number}.tar")
            make_bundle(release, bundles[-1])
            if number:
                deltas.append(stick / f"{number}.delta.tar")
                old, trust = bundles[number - 1], trusting(release)
                pipeline.bundle(release.folder, trust, deltas[-1], [], SILENT, delta_from=old)
        with real_site(engine, shell, base, stick) as site:
            site.profile(watch="1")
            began = time.monotonic()
            done = site.run("install", releases[0], bundles[0])
            assert done.code == 0, done.err
            seconds = time.monotonic() - began
            killed = finished = 0
            verbs: Counter[str] = Counter()
            with site.load() as told:
                for moment in range(moments):
                    number = min(1 + moment * 3 // moments, 3)
                    release = releases[number]
                    medium = draw.choice([release.folder, bundles[number], deltas[number - 1]])
                    verb = draw.choice(["install", "install", "rollback", "resume"])
                    command = (
                        site.command(verb, release, medium)
                        if verb == "install"
                        else site.command(verb, None)
                    )
                    verbs[f"{verb} {medium.suffixes}" if verb == "install" else verb] += 1
                    alive = kill_while(
                        command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, draw.uniform(0, seconds)
                    )
                    killed += alive
                    finished += not alive
                    # A machine that has become less busy since is met earlier.
                    seconds = max(2.0, seconds * (1.1 if alive else 0.8))
                    what_holds(site)
                    if moment % 4 == 3:
                        done = site.run("install", release, bundles[number])
                        assert done.code == 0 or "older" in done.err, done.err
                        settled(site)
                settled(site)
            told.update(
                killed=killed,
                finished=finished,
                commands=dict(verbs),
                engine=engine,
                shell=shell,
                failures=told["failures"][:5],
                failed=len(told["failures"]),
            )
            print(json.dumps(told))


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 40, *(words[1:] or ["docker", "dash"]))
