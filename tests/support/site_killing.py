"""Kills an installer at random moments and says what must hold all the same."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time

from small_release import SmallRelease

from packager.site.history import read_history


def kill_while(command: list[str], environment: dict[str, str], after: float) -> bool:
    """Start it, SIGKILL all of it `after` seconds later; whether it was still at work."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def what_holds(site) -> None:
    """After a kill: the state is whole, and the version that it names runs beside the door."""
    state = site.state()
    running = {name for name, alive in site.containers().items() if alive}
    if state["serving"]:
        assert state["serving"] in running, (state, running)
        assert f"packager-{site.home.name}-door" in running


def kill_through(site, releases: list[SmallRelease], moments: int, seed: int) -> dict[str, int]:
    """Install releases over each other and roll back, killed at random moments of their time.

    After every kill the invariants hold and, now and then, the next command completes. Returns how
    many commands were killed at work and how many were done already.
    """
    draw = random.Random(seed)
    began = time.monotonic()
    assert site.install(releases[0]).code == 0
    seconds = time.monotonic() - began
    counts = {"killed": 0, "done": 0}
    for moment in range(moments):
        release = releases[min(1 + moment * len(releases) // (moments + 1), len(releases) - 1)]
        verb = draw.choice(["install", "install", "rollback", "resume"])
        command = (
            site.command(release, "install") if verb == "install" else site.command(None, verb)
        )
        alive = kill_while(command, site.surroundings(), draw.uniform(0, seconds))
        counts["killed" if alive else "done"] += 1
        # A machine that has become less busy since is met earlier.
        seconds *= 1 if alive else 0.7
        what_holds(site)
        if moment % 4 == 3:
            done = site.install(release)
            older = done.code == 3 and "older" in done.err
            assert done.code == 0 or older, done.err
            what_holds(site)
            settled(site)
    done = site.run(None, "resume")
    assert done.code == 0, done.err
    settled(site)
    return counts


def settled(site) -> None:
    """Nothing is half done: no candidate, nobody standing by, no container that is nobody's."""
    state = site.state()
    assert (state["candidate"], state["fallback"]) == ("", "")
    slots = {slot["name"] for slot in site.status()["slots"]}
    assert set(site.containers()) == slots | {f"packager-{site.home.name}-door"}
    running = {name for name, alive in site.containers().items() if alive}
    assert running == {state["serving"], f"packager-{site.home.name}-door"}
    assert {path.name for path in (site.home / "slots").iterdir()} == slots
    read_history(site.home)
