"""What an operator lives through, under dash and busybox ash, with an engine of files."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from site_machine import installer

from packager.site.history import read_history


def serving(site):
    status = site.status()
    assert status["ready"]
    return status["serving"]


def test_install_upgrade_roll_back_and_the_truth_at_each_step(site, releases):
    done = site.install(releases["1.0.0"])
    assert (done.code, serving(site)) == (0, "1.0.0"), done.err
    assert site.install(releases["1.1.0"]).code == 0
    assert serving(site) == "1.1.0"
    states = {
        slot["version"]: (slot["state"], slot["container"]) for slot in site.status()["slots"]
    }
    assert states == {"1.0.0": ("kept", "stopped"), "1.1.0": ("serving", "running")}
    assert site.run(None, "rollback").code == 0
    assert serving(site) == "1.0.0"
    forward = site.run(None, "rollback", "--to", "1.1.0")
    assert (forward.code, serving(site)) == (0, "1.1.0"), forward.err
    told = [
        (record.document["verb"], record.document["result"]) for record in read_history(site.home)
    ]
    assert told == [
        ("install", "done"),
        ("install", "done"),
        ("rollback", "done"),
        ("rollback", "done"),
    ]


def test_again_is_harmless(dash, releases):
    dash.install(releases["1.0.0"])
    before = dash.state()
    again = dash.install(releases["1.0.0"])
    assert again.code == 0
    assert "already" in again.out
    assert dash.state() == before


def test_a_dry_run_changes_nothing(dash, releases):
    done = dash.install(releases["1.0.0"], "--dry-run")
    assert done.code == 0
    assert "would be installed" in done.out
    assert not dash.data.exists()
    assert dash.containers() == {}


def test_a_release_whose_self_test_fails_is_never_switched_to(dash, releases):
    dash.install(releases["1.0.0"])
    dash.verdict(releases["1.3.0"], test="output y is off by 1")
    done = dash.install(releases["1.3.0"])
    assert done.code == 1
    assert "off by 1" in done.err
    assert serving(dash) == "1.0.0"
    image = releases["1.3.0"].built[0].image.config.digest.hex
    assert not (dash.stub / "images" / image).exists()
    assert [slot["version"] for slot in dash.status()["slots"]] == ["1.0.0"]
    assert read_history(dash.home)[-1].document["result"] == "failed"


def test_a_kept_version_that_fails_its_self_test_stays_kept(dash, releases):
    """It is installed once more, from a stick; what a rollback needs of it is still here then."""
    for version in ("1.0.0", "1.1.0"):
        assert dash.install(releases[version]).code == 0
    assert dash.run(None, "rollback").code == 0
    dash.verdict(releases["1.1.0"], test="the machine is busy")
    assert dash.install(releases["1.1.0"]).code == 1
    assert serving(dash) == "1.0.0"
    slots = {slot["version"]: slot["container"] for slot in dash.status()["slots"]}
    assert slots == {"1.0.0": "running", "1.1.0": "stopped"}
    dash.verdict(releases["1.1.0"])
    forward = dash.run(None, "rollback", "--to", "1.1.0")
    assert (forward.code, serving(dash)) == (0, "1.1.0"), forward.err


def test_an_interrupted_rollback_may_be_asked_for_again(dash, releases):
    for version in ("1.0.0", "1.1.0"):
        assert dash.install(releases[version]).code == 0
    begun = dash.base / "begun"
    real = 'PATH=${PATH#*:}; exec docker "$@"'
    dash.tool("docker", f'[ "$1" != start ] || {{ : >{begun}; sleep 1; }}; {real}')
    with subprocess.Popen(
        dash.command(None, "rollback"), env=dash.surroundings(), stderr=subprocess.DEVNULL
    ) as rollback:
        while not begun.exists():
            time.sleep(0.02)
        rollback.terminate()
    assert rollback.returncode == 143
    (dash.base / "bin" / "docker").unlink()
    assert serving(dash) == "1.1.0"
    assert {slot["version"]: slot["container"] for slot in dash.status()["slots"]} == {
        "1.0.0": "stopped", "1.1.0": "running",
    }  # fmt: skip
    done = dash.run(None, "rollback")
    assert (done.code, serving(dash)) == (0, "1.0.0"), done.err


def test_a_release_that_does_not_hold_is_rolled_back_by_itself(site, releases):
    site.install(releases["1.0.0"])
    site.verdict(releases["1.3.0"], watch="no longer ready: HTTP 503")
    done = site.install(releases["1.3.0"])
    assert done.code == 1
    assert serving(site) == "1.0.0"
    assert site.state()["fallback"] == ""
    assert site.state()["newest"] == "1.0.0"
    last = read_history(site.home)[-1].document
    assert (last["result"], last["serving"]) == ("rolled-back", site.state()["serving"])


def test_only_so_many_versions_are_kept(dash, releases):
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        assert dash.install(releases[version]).code == 0
    kept = [slot["version"] for slot in dash.status()["slots"]]
    assert kept == ["1.1.0", "1.2.0", "1.3.0"]
    # The door keeps the image that it runs from, 1.0.0's; images of kept versions are there.
    assert len(list((dash.stub / "images").iterdir())) == 4


def test_uninstalling_leaves_the_history_and_the_memory_of_versions(site, releases):
    site.install(releases["1.1.0"])
    done = site.run(None, "uninstall")
    assert done.code == 0, done.err
    assert site.containers() == {}
    assert list((site.stub / "images").iterdir()) == []
    assert len(read_history(site.home)) == 2
    older = site.install(releases["1.0.0"])
    assert older.code == 3
    assert "older" in older.err
    assert site.run(None, "uninstall", "--purge").code == 0
    assert not site.home.exists()
    assert site.install(releases["1.0.0"]).code == 0


def test_a_lock_of_somebody_at_work_is_kept_and_one_of_the_dead_is_not(dash, releases):
    dash.home.mkdir(parents=True)
    lock = dash.home / "lock"
    began = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(") ")[2].split()[19]
    lock.symlink_to(f"{os.getpid()}:{began}")
    done = dash.install(releases["1.0.0"])
    assert done.code == 5
    assert str(os.getpid()) in done.err
    assert lock.is_symlink()
    lock.unlink()
    lock.symlink_to(f"{os.getpid()}:1")  # the number was given to another process since
    assert dash.install(releases["1.0.0"]).code == 0
    assert not lock.is_symlink()


def test_a_changed_record_is_noticed(dash, releases):
    dash.install(releases["1.0.0"])
    dash.install(releases["1.1.0"])
    assert dash.run(None, "history").code == 0
    first = dash.home / "history" / "000001.json"
    first.write_text(first.read_text().replace("1.0.0", "1.0.1"))
    done = dash.run(None, "history")
    assert done.code == 4
    assert "000002.json" in done.err


def test_a_removed_last_record_is_noticed(dash, releases):
    dash.install(releases["1.0.0"])
    dash.install(releases["1.1.0"])
    (dash.home / "history" / "000002.json").unlink()
    assert dash.run(None, "history").code == 4


def test_a_damaged_state_file_falls_back_to_the_one_before(dash, releases):
    dash.install(releases["1.0.0"])
    state = dash.home / "run" / "state"
    state.write_bytes(state.read_bytes()[:40])
    done = dash.install(releases["1.1.0"])
    assert done.code == 0, done.err
    assert "damaged" in done.err
    assert serving(dash) == "1.1.0"


def test_two_damaged_state_files_stop_everything(dash, releases):
    dash.install(releases["1.0.0"])
    for name in ("state", "state.1"):
        (dash.home / "run" / name).write_bytes(b"\0" * 40)
    before = dash.containers()
    done = dash.install(releases["1.1.0"])
    assert done.code == 1
    assert dash.containers() == before


def test_after_a_power_cut_what_should_run_runs(dash, releases):
    dash.install(releases["1.0.0"])
    dash.install(releases["1.1.0"])
    for container in (dash.stub / "containers").iterdir():
        container.write_text(container.read_text().replace("true", "false"))
    assert not dash.status()["ready"]
    done = dash.run(None, "resume")
    assert done.code == 0, done.err
    assert serving(dash) == "1.1.0"
    running = [name for name, alive in dash.containers().items() if alive]
    assert len(running) == 2  # the door and 1.1.0


def test_an_interrupted_watch_is_finished_by_the_next_command(site, releases):
    site.install(releases["1.0.0"])
    site.environment["STUB_WATCH"] = "30"
    site.profile(watch="30")
    started = subprocess.Popen(
        site.command(releases["1.1.0"], "install"),
        env=site.surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    for line in started.stderr:
        if "watch" in line:
            break
    os.killpg(started.pid, 9)
    started.communicate()
    assert site.state()["fallback"]
    del site.environment["STUB_WATCH"]
    site.profile()
    done = site.run(releases["1.1.0"], "install")
    assert done.code == 0, done.err
    assert site.state()["fallback"] == ""
    assert serving(site) == "1.1.0"
    assert [slot["container"] for slot in site.status()["slots"]] == ["stopped", "running"]


def test_an_interrupted_watch_is_not_done_with_one_good_answer(dash, releases):
    dash.install(releases["1.0.0"])
    dash.environment["STUB_WATCH"] = "30"
    started = subprocess.Popen(
        dash.command(releases["1.1.0"], "install"),
        env=dash.surroundings(), stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    for line in started.stderr:
        if "watch" in line:
            break
    os.killpg(started.pid, 9)
    started.communicate()
    del dash.environment["STUB_WATCH"]
    dash.verdict(releases["1.1.0"], watch="no longer ready: HTTP 503")
    done = dash.run(None, "resume")
    assert (done.code, serving(dash)) == (0, "1.0.0"), done.err
    assert "no longer ready" in done.err
    assert dash.state()["fallback"] == ""


@pytest.mark.parametrize("words", [(), ("install",), ("frobnicate",), ("install", "--bogus")])
def test_what_is_not_understood_is_usage(dash, releases, words):
    script = installer(releases["1.0.0"].folder)
    done = subprocess.run(
        ["dash", script, *words], capture_output=True, text=True, cwd=dash.base.parent
    )
    assert done.returncode == 2
    assert "Exit codes" in done.stderr
