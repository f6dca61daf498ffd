"""A delta at a site without Python: what it stands on is found, checked, and kept for the next."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from bundles import entries, make_bundle, trusting, write_entries
from small_release import SmallRelease
from weights import fine_tuned, initializers

from packager import pipeline
from packager.progress import SILENT


@pytest.fixture(scope="module")
def heavy() -> dict[str, SmallRelease]:
    """Releases with weights, by version; made with `bundles`."""
    return {}


@pytest.fixture(scope="module")
def bundles(releases, heavy, tmp_path_factory) -> dict[str, Path]:
    """Whole bundles by version, and deltas by the versions between which they lie."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {version: folder / f"{version}.tar" for version in ("1.0.0", "1.1.0", "1.2.0")}
    tensors = initializers(2 << 20)
    for number, (version, file) in enumerate(made.items()):
        weights = b"".join(fine_tuned(tensors, 0.1, seed=number)[0])
        heavy[version] = releases.other(f"heavy-{version}", version, weights=weights)
        make_bundle(heavy[version], file)
    for old, new in (("1.0.0", "1.1.0"), ("1.1.0", "1.2.0")):
        made[f"{old}-{new}"] = delta = folder / f"{old}-{new}.tar"
        trust = trusting(heavy[new])
        pipeline.bundle(heavy[new].folder, trust, delta, [], SILENT, delta_from=made[old])
    return made


def stock(site, version: str) -> Path:
    slot = next(slot for slot in site.status()["slots"] if slot["version"] == version)
    assert slot["stock"] == (site.home / "slots" / slot["name"] / "release").is_dir()
    return site.home / "slots" / slot["name"] / "release"


def test_one_delta_after_another_stands_on_what_the_site_kept(site, bundles, heavy):
    assert site.install(heavy["1.0.0"], bundles["1.0.0"]).code == 0
    first = stock(site, "1.0.0")
    for old, new in (("1.0.0", "1.1.0"), ("1.1.0", "1.2.0")):
        done = site.install(heavy[new], bundles[f"{old}-{new}"])
        assert done.code == 0, done.err
        assert site.status()["serving"] == new
        assert files(stock(site, new)) == files(heavy[new].folder)
    shared = first / "images/blobs/sha256"
    links = [path for path in shared.iterdir() if path.stat().st_nlink == 3]
    assert links, "what all three have is on the disk once"
    changed = [info.name for info, _ in entries(bundles["1.0.0-1.1.0"])]
    assert [name for name in changed if name.endswith(".recipe")], "weights are rebuilt"
    assert not (site.home / "incoming").exists()
    # What Python finds there is a release without links within it.
    pipeline.verify(stock(site, "1.2.0"), trusting(heavy["1.2.0"]), SILENT)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("medium", ["folder", "bundle"])
def test_a_delta_stands_on_what_is_named(site, bundles, heavy, medium):
    """The release itself came as a folder, of which nothing is kept."""
    assert site.install(heavy["1.0.0"]).code == 0
    assert site.status()["slots"][0]["stock"] is False
    alone = site.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"])
    assert alone.code == 2
    assert "--base" in alone.err
    base = heavy["1.0.0"].folder if medium == "folder" else bundles["1.0.0"]
    done = site.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"], "--base", base)
    assert done.code == 0, done.err
    theirs = {path.stat().st_ino for path in heavy["1.0.0"].folder.rglob("*")}
    ours = {path.stat().st_ino for path in stock(site, "1.1.0").rglob("*")}
    assert not theirs & ours, "nothing of the stick is linked"


def test_a_site_that_keeps_nothing(dash, bundles, heavy):
    dash.profile(stock="false")
    assert dash.install(heavy["1.0.0"], bundles["1.0.0"]).code == 0
    assert not stock(dash, "1.0.0").exists()


def test_another_base_and_a_base_too_many_are_refused(dash, bundles, heavy):
    delta = bundles["1.1.0-1.2.0"]
    wrong = dash.install(heavy["1.2.0"], delta, "--base", bundles["1.0.0"])
    assert (wrong.code, "made from another release" in wrong.err) == (4, True), wrong.err
    whole = dash.install(heavy["1.2.0"], bundles["1.2.0"], "--base", bundles["1.1.0"])
    assert (whole.code, "stands on no other" in whole.err) == (2, True)
    assert dash.containers() == {}


def test_a_damaged_base_is_named_and_a_damaged_delta_too(dash, bundles, heavy, tmp_path):
    assert dash.install(heavy["1.0.0"], bundles["1.0.0"]).code == 0
    kept = max(stock(dash, "1.0.0").glob("images/blobs/sha256/*"), key=os.path.getsize)
    good = kept.read_bytes()
    kept.write_bytes(good[: len(good) // 2] + bytes(len(good) - len(good) // 2))
    done = dash.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"])
    assert done.code == 4
    assert "the release that the delta stands on is damaged" in done.err
    assert kept.name in done.err
    assert dash.status()["serving"] == "1.0.0"
    kept.unlink()
    lacking = dash.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"])
    assert (lacking.code, kept.name in lacking.err) == (4, True), lacking.err
    kept.write_bytes(good)
    harmed = tmp_path / "harmed.tar"
    members = entries(bundles["1.0.0-1.1.0"])
    for number, (info, data) in enumerate(members):
        if info.name.startswith("blobs/"):
            members[number] = (info, bytes([data[0] ^ 1]) + data[1:])
    write_entries(harmed, members)
    done = dash.install(heavy["1.1.0"], harmed)
    assert (done.code, "the delta is damaged" in done.err) == (4, True), done.err
    again = dash.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"])
    assert again.code == 0, again.err


def test_a_base_without_the_targets_of_the_delta_is_not_called_damaged(
    dash, bundles, heavy, tmp_path
):
    some = tmp_path / "some"
    shutil.copytree(heavy["1.0.0"].folder, some)
    shutil.rmtree(some / "targets")
    done = dash.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"], "--base", some)
    assert done.code == 2, done.err
    assert "carries targets that the release it stands on does not have here" in done.err
    assert "sa/x86-64-v3/compose" in done.err
    assert dash.containers() == {}


def test_a_dry_run_of_a_delta_changes_nothing(dash, bundles, heavy):
    assert dash.install(heavy["1.0.0"], bundles["1.0.0"]).code == 0
    before = files(dash.home)
    done = dash.install(heavy["1.1.0"], bundles["1.0.0-1.1.0"], "--dry-run")
    assert (done.code, "would be installed" in done.out) == (0, True), done.err
    assert files(dash.home) == before


@pytest.mark.parametrize("option", ["--rotation", "--revocations", "--allow-rollback"])
def test_what_only_python_knows_is_refused_with_the_next_step(dash, releases, option, tmp_path):
    done = dash.install(releases["1.0.0"], option, tmp_path / "statement")
    assert done.code == 2
    assert "packager install" in done.err
    assert "site.yaml" in done.err


def test_what_a_kept_version_gets_anew_is_on_the_disk_before_it_is_there(dash, bundles, heavy):
    """`status` tells of it at once: after a power cut it would tell of empty files."""
    for version in ("1.0.0", "1.1.0"):
        assert dash.install(heavy[version], bundles[version]).code == 0
    assert dash.run(None, "rollback").code == 0
    place, done = stock(dash, "1.1.0"), dash.base / "done"
    for name in ("sync", "mv"):
        dash.tool(name, f'echo "{name} $*" >>{done}; PATH=${{PATH#*:}}; exec {name} "$@"')
    assert dash.install(heavy["1.1.0"], bundles["1.1.0"]).code == 0
    told = done.read_text().splitlines()
    synced = [n for n, line in enumerate(told) if line.startswith("sync") and "checksums" in line]
    moved = told.index(f"mv {dash.home}/incoming {place}")
    assert synced[0] < moved
    assert f"{dash.home}/incoming/checksums.txt" in told[synced[0]]
    assert files(place) == files(heavy["1.1.0"].folder)
    assert not list(dash.home.glob("incoming*"))
