"""SIGKILL at random moments of a site, on a real engine and under load.

    python -m benchmarks.border.site_killing ENGINE [BY] [KILLS] [RESULTS.jsonl]

ENGINE is docker, podman, quadlet or containerd; BY is dash, ash or python. Installs from folders,
bundles, parts and deltas, rolls back and resumes, each killed with all its processes at a moment of
its own story (tests/support/killing_at.py), while callers ask without pause. Counted are kills that
met the command at work. After each:

  answers    the version that the state names answers through the port, with its own answers
  runs       its container and the door's are there, and run
  next       two times of three, the next command (resume, or an install) is done, exit 0
  settled    after that nothing is half done: no candidate, nobody standing by, no container or unit
             that is nobody's, nothing half unpacked, no files of versions that are gone, and a
             history that is whole

Each kill is one JSON line of RESULTS, written as it comes; every ten kills one about the callers. A
run that ended early goes on where it was. The last line of stdout says the sums.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from bundles import make_bundle, trusting
from killing_at import SECONDS, Story, Struck, strike
from real_site import PORT, RealSite, real_site
from site_releases import NAME, site_release
from small_release import SmallRelease

from packager import pipeline
from packager.progress import SILENT
from packager.site.history import read_history
from packager.site.state import SiteState, read_state

PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
BATCH = 10
# The engine heals what it owns: containerd's monitor looks every 10 s, and a machine may be slow.
PATIENCE = 120.0
# Known before the first command told its own; what a command never comes to is drawn in vain.
SWITCHING = ("began", "start", "self-test", "switch", "watch")
STEPS = {
    "install": ("verify", "preflight", "load", *SWITCHING),
    "rollback": SWITCHING,
    "resume": ("began",),
}
MEDIA = ("folder", "bundle", "parts", "delta")
ASKS = """
import json, sys, urllib.request
tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1.0] * 4}
ask = urllib.request.Request(
    f"http://127.0.0.1:{sys.argv[1]}/v2/models/multiply/infer",
    json.dumps({"inputs": [tensor]}).encode())
print(json.loads(urllib.request.urlopen(ask, timeout=60).read())["outputs"][0]["data"][0])
"""


@dataclass
class Stick:
    """Releases made as they are wanted: version 1.N.0 multiplies by N + 1."""

    folder: Path
    made: list[SmallRelease] = field(default_factory=list)

    def release(self, number: int) -> SmallRelease:
        while len(self.made) <= number:
            n = len(self.made)
            key = self.made[0].key_file if self.made else None
            name = f"1.{n}.0"
            self.made.append(site_release(self.folder / name, name, 1.0 + n, key_file=key))
            make_bundle(self.made[n], self.folder / f"{n}.tar")
            if n > 3:  # what no command needs any more
                shutil.rmtree(self.folder / f"1.{n - 3}.0")
                (self.folder / f"{n - 3}.tar").unlink()
        return self.made[number]

    def bundle(self, number: int) -> Path:
        self.release(number)
        return self.folder / f"{number}.tar"

    def words(self, number: int, medium: str) -> list[Path | str]:
        """What stands after `install` for this version on this medium."""
        release = self.release(number)
        trust = trusting(release)
        if medium == "folder":
            return [release.folder]
        if medium == "bundle":
            return [self.bundle(number)]
        place = self.folder / f"{medium}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if medium == "parts":
            cut = pipeline.Cut(40_000_000, str(release.key_file))
            pipeline.bundle(release.folder, trust, place / "parts", [], SILENT, cut=cut)
            return [place / "parts" / "parts.parts.json"]
        old = self.bundle(number - 1)
        pipeline.bundle(release.folder, trust, place / "delta.tar", [], SILENT, delta_from=old)
        return ["--base", old, place / "delta.tar"]


@dataclass
class Killing:
    site: RealSite
    stick: Stick
    chance: random.Random
    results: Path
    stories: dict[str, Story] = field(default_factory=dict)
    newest: int = 0

    def told(self, **more: object) -> None:
        line = {"engine": self.site.engine, "by": self.site.by, **more}
        with self.results.open("a") as stream:
            stream.write(json.dumps(line) + "\n")

    def moment(self, number: int) -> bool:
        """One command that is struck, and what holds afterwards; whether it was met at work."""
        verb, medium = self.draw()
        kind = f"{verb} {medium}".strip()
        story = self.stories.setdefault(kind, Story(dict.fromkeys(STEPS[verb], SECONDS)))
        if verb == "install":
            release = self.stick.release(self.newest)
            words = self.stick.words(self.newest, medium)
            command = self.site.command(verb, release, *words)
        else:
            command = self.site.command(verb, None)
        struck = strike(command, PATH, story, story.draw(self.chance))
        self.after(number, kind, struck)
        return struck.hit

    def draw(self) -> tuple[str, str]:
        state = self.state()
        assert state.serving
        verbs = ["install"] * 5 + ["resume"] + ["rollback"] * 2 * (len(state.slots) > 1)
        verb = self.chance.choice(verbs)
        if verb != "install":
            return verb, ""
        if state.serving.version == f"1.{self.newest}.0":
            self.newest += 1
        return verb, self.chance.choice(MEDIA)

    def after(self, number: int, kind: str, struck: Struck) -> None:
        line: dict[str, object] = {
            "kill": number if struck.hit else None, "command": kind, "step": struck.step,
            "share": struck.share, "seconds": round(struck.seconds, 2),
            "load": round(os.getloadavg()[0], 1), "exit": None if struck.hit else struck.code,
        }  # fmt: skip
        if not struck.hit and struck.code:
            line["told"] = struck.told  # nothing was done to it: why did it fail?
        try:
            line |= self.holds()
            if struck.hit and self.chance.random() < 2 / 3:
                line |= self.completes()
        except AssertionError as error:
            line["broken"] = str(error)[:2000]
        self.told(**line)

    def state(self) -> SiteState:
        state = read_state(self.site.home)
        assert state is not None
        return state

    def holds(self) -> dict[str, object]:
        began = time.monotonic()
        while True:
            serving = self.state().serving
            assert serving, "a version is in service"
            answered = self.ask()
            alive = self.site.containers()
            runs = alive.get(serving.name, False) and alive.get(f"packager-{NAME}-door", False)
            if runs and answered == self.factor(serving.version):
                waited = round(time.monotonic() - began, 1)
                return {"serving": serving.version, "answers": True, "runs": True, "waited": waited}
            late = time.monotonic() - began > PATIENCE
            assert not late, f"{serving.version} serves, and {answered!r} came of {alive}"
            time.sleep(0.5)

    def ask(self) -> str:
        return self.site.room.run_here(sys.executable, "-I", "-c", ASKS, str(PORT)).stdout.strip()

    @staticmethod
    def factor(version: str) -> str:
        return str(1.0 + int(version.split(".")[1]))

    def completes(self) -> dict[str, object]:
        """The next command, whichever it is, is done; and nothing is half done after it."""
        verb = self.chance.choice(["resume", "install"])
        began = time.monotonic()
        if verb == "resume":
            done = self.site.run("resume")
        else:
            release = self.stick.release(self.newest)
            done = self.site.run("install", release, self.stick.bundle(self.newest))
        assert done.code == 0, f"{verb} after it: {done.code} {done.err[-1500:]}"
        self.settled()
        return {"next": verb, "settled": True, "next_seconds": round(time.monotonic() - began, 1)}

    def settled(self) -> None:
        last = time.monotonic() + PATIENCE
        while not (status := self.site.status())["ready"]:
            assert time.monotonic() < last, f"not ready: {status}"
        assert (status["candidate"], status["fallback"]) == ("", ""), status
        door = f"packager-{NAME}-door"
        slots = {slot["name"]: slot["state"] for slot in status["slots"]}
        should_run = {door, *(name for name, state in slots.items() if state == "serving")}
        alive = self.site.containers()
        # What systemd owns is gone when it is stopped: a version that is kept has no container.
        there = should_run if self.site.engine == "quadlet" else {door, *slots}
        assert set(alive) == there, (alive, status)
        assert {name for name, runs in alive.items() if runs} == should_run, (alive, status)
        if self.site.engine == "quadlet":
            units = self.site.room.root / "etc/containers/systemd"
            assert {path.name for path in units.glob("packager-*")} == {
                f"{name}.container" for name in should_run
            }
        read_history(self.site.home)
        assert not list(self.site.home.glob("incoming*")), "what was unpacked is put away"
        assert {path.name for path in (self.site.home / "slots").iterdir()} == set(slots)


def kills_in(results: Path, engine: str, by: str) -> list[dict]:
    if not results.exists():
        return []
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return [row for row in rows if (row["engine"], row["by"]) == (engine, by)]


def main(engine: str, by: str, kills: int, results: Path) -> None:
    done = sum(1 for row in kills_in(results, engine, by) if row.get("kill"))
    with tempfile.TemporaryDirectory(prefix="packager-killing-", dir="/var/tmp") as scratch:
        base, stick = Path(scratch) / "site", Stick(Path(scratch) / "stick")
        base.mkdir()
        stick.folder.mkdir()
        first = stick.release(0)
        with real_site(engine, by, base, stick.folder) as site:
            site.profile(watch="1")
            killing = Killing(site, stick, random.Random(f"{engine} {by} {done}"), results)
            installed = site.run("install", first, stick.bundle(0))
            assert installed.code == 0, installed.err
            while done < kills:
                began = time.monotonic()
                with site.load() as told:
                    for _ in range(min(BATCH, kills - done)):
                        done += killing.moment(done + 1)
                failed = told.pop("failures")
                asked = sum(told.pop("answers").values())
                seconds = round(time.monotonic() - began)
                killing.told(asked=asked, failed=len(failed), why=failed[:5], in_s=seconds, **told)
            with contextlib.suppress(AssertionError):
                killing.told(last=True, **killing.completes())
    print(json.dumps(sums(kills_in(results, engine, by))))


def sums(rows: list[dict]) -> dict[str, object]:
    killed = [row for row in rows if row.get("kill")]
    return {
        "kills": len(killed),
        "commands": dict(Counter(row["command"] for row in killed)),
        "steps": dict(Counter(row["step"] for row in killed)),
        "answered": sum(row.get("answers", False) for row in killed),
        "completed": sum(row.get("settled", False) for row in killed),
        "broken": [row["broken"] for row in rows if row.get("broken")],
        "asked": sum(row.get("asked", 0) for row in rows),
        "failed": sum(row.get("failed", 0) for row in rows),
        "worst_ms": max((row.get("worst_ms", 0) for row in rows), default=0),
    }


if __name__ == "__main__":
    words = sys.argv[1:]
    main(
        words[0] if words else "docker",
        words[1] if words[1:] else "dash",
        int(words[2]) if words[2:] else 60,
        Path(words[3]) if words[3:] else Path("benchmarks/border/results/site_killing.jsonl"),
    )
