"""Many sites: the truth about each, and a bundle as small as what it has allows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from small_release import SmallRelease, build_targets, make_release
from weights import fine_tuned, initializers

from packager import fleet, pipeline
from packager.bundle.fleet import Drift, versions_of
from packager.bundle.fleet_page import fleet_html
from packager.cli.main import main
from packager.digest import Digest
from packager.errors import InputError, VerificationError
from packager.progress import SILENT

SA = "sa/x86-64-v3/compose"


class World:
    """Three releases, and a folder of sites."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tensors = initializers(2 << 20)
        key = None
        self.releases: list[SmallRelease] = []
        for number in range(3):
            base = folder / str(number)
            base.mkdir()
            build = partial(build_targets, weights=b"".join(tensors))
            made = make_release(base, version=f"1.{number}.0", key_file=key, build=build)
            tensors, _ = fine_tuned(tensors, 0.05, seed=number)
            key = made.key_file
            self.releases.append(made)
        self.trust = trusting(self.releases[0])

    def digest(self, number: int) -> Digest:
        return Digest.of_file(self.releases[number].folder / "release.json")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def site(folder: Path, name: str, jurisdiction: str = "sa", **more: str) -> Path:
    lines = {
        "apiVersion": "packager/v1", "kind": "Site", "name": name, "jurisdiction": jurisdiction,
        "region": "site/room", "engine": "docker", **more,
    }  # fmt: skip
    file = folder / f"{name}.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return file


def reports(file: Path, serving: Digest | None, version: str = "1.0.0", target: str = SA) -> None:
    slots = [
        {"container": "running", "digest": serving.hex, "image": "sha256:1", "name": "a",
         "state": "serving", "target": target, "version": version}
    ] if serving else []  # fmt: skip
    report = {"site": file.stem, "release": "filetype", "ready": True, "slots": slots}
    file.with_name(f"{file.stem}.status.json").write_text(json.dumps(report))


def standing(world: World, files: list[Path], number: int = 2):
    return fleet.standings(world.releases[number].folder, world.trust, files, SILENT)


def name_of(world: World) -> str:
    return json.loads((world.releases[0].folder / "release.json").read_bytes())["metadata"]["name"]


def test_where_each_site_stands(world, tmp_path):
    behind, current, ahead, empty, silent, abroad, other = files = [
        site(tmp_path, name) for name in ("behind", "current", "ahead", "empty", "silent")
    ] + [site(tmp_path, "abroad", jurisdiction="fr"), site(tmp_path, "other")]
    reports(behind, world.digest(0))
    reports(current, world.digest(1), "1.1.0")
    reports(ahead, world.digest(2), "1.2.0")
    reports(empty, None)
    reports(other, Digest.of(b"?"), "nightly")
    for file in files:
        report = file.with_name(f"{file.stem}.status.json")
        if report.exists():
            report.write_text(report.read_text().replace('"filetype"', json.dumps(name_of(world))))
    _, rows = standing(world, files, 1)
    assert {row.name: row.drift for row in rows} == {
        "behind": Drift.BEHIND, "current": Drift.CURRENT, "ahead": Drift.AHEAD,
        "empty": Drift.EMPTY, "silent": Drift.UNKNOWN, "abroad": Drift.UNFIT,
        "other": Drift.OTHER,
    }  # fmt: skip
    assert silent.exists()
    assert abroad.exists()


def test_each_site_gets_the_least_that_it_needs(world, tmp_path):
    """A delta where the site serves a release that is known, a bundle of its target else."""
    older = tmp_path / "older"
    older.mkdir()
    make_bundle(world.releases[0], older / "whole.tar")
    behind, fresh, current = (site(tmp_path, name) for name in ("behind", "fresh", "current"))
    reports(behind, world.digest(0))
    reports(current, world.digest(1), "1.1.0")
    output = tmp_path / "sticks"
    release = world.releases[1].folder
    _, rows = fleet.bundle_for(
        release, world.trust, [behind, fresh, current], output, older, SILENT
    )
    by_name = {row.name: row for row in rows}
    assert by_name["current"].bundle == ""
    assert {path.name for path in output.iterdir()} == {"behind.tar", "fresh.tar"}
    assert by_name["behind"].size < 0.5 * by_name["fresh"].size
    assert "1.0.0" in by_name["behind"].base
    # What the site kept is the bundle of its target, and the delta stands on that.
    make_bundle(world.releases[0], tmp_path / "kept.tar", SA)
    pipeline.apply_deltas(
        tmp_path / "kept.tar", [output / "behind.tar"], world.trust, tmp_path / "new.tar", SILENT
    )
    assert (tmp_path / "new.tar").read_bytes() == (output / "fresh.tar").read_bytes()


def test_sites_that_need_the_same_share_a_bundle(world, tmp_path):
    files = [site(tmp_path, name) for name in ("a", "b")]
    output = tmp_path / "sticks"
    _, rows = fleet.bundle_for(world.releases[0].folder, world.trust, files, output, None, SILENT)
    assert [row.bundle for row in rows] == ["a.tar", "a.tar"]
    assert len(list(output.iterdir())) == 1


@pytest.mark.parametrize("again", [["--for"], []], ids=["each with --for", "as a shell expands it"])
def test_no_site_of_the_command_line_is_passed_over(world, tmp_path, capsys, again):
    one, two, three = (str(site(tmp_path, name)) for name in ("one", "two", "three"))
    release, key = str(world.releases[0].folder), str(world.releases[0].public_file)
    command = ["bundle", release, "--key", key, "-o", str(tmp_path / "sticks"), "--json", "-q"]
    assert main([*command, "--for", one, *again, two, *again, three]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["site"] for row in told["sites"]] == ["one", "two", "three"]


def test_all_that_cannot_be_read_is_told_at_once(world, tmp_path):
    good, broken = site(tmp_path, "good"), site(tmp_path, "broken", engine="steam")
    twin = site(tmp_path, "twin")
    twin.write_text(twin.read_text().replace("twin", "good"))
    reported = site(tmp_path, "reported")
    reported.with_name("reported.status.json").write_text("[" * 9000)
    with pytest.raises(InputError) as caught:
        standing(world, [good, broken, twin, reported, tmp_path / "none.yaml"])
    told = " ".join(str(finding.as_dict()) for finding in caught.value.findings)
    for word in ("broken.yaml", "two sites", "reported.status.json", "none.yaml"):
        assert word in told


def test_nothing_is_made_of_an_unsigned_release(world, tmp_path):
    other = make_release(tmp_path)
    with pytest.raises(VerificationError):
        fleet.bundle_for(
            other.folder, world.trust, [site(tmp_path, "a")], tmp_path / "out", None, SILENT
        )
    assert not (tmp_path / "out").exists()


def test_the_page_shows_every_site_and_needs_nothing_from_outside(world, tmp_path):
    file = site(tmp_path, "riyadh")
    reports(file, world.digest(0))
    found, rows = standing(world, [file])
    page = fleet_html("<name>", found.version, str(found.digest), rows)
    assert "riyadh" in page
    assert "&lt;name&gt;" in page
    assert "1.0.0" in page
    for word in ("http:", "https:", "src=", "<script"):
        assert word not in page


def test_the_page_tells_versions_in_their_order_and_what_is_kept(world, tmp_path):
    file = site(tmp_path, "riyadh")
    reports(file, world.digest(0), "1.9.0")
    report = file.with_name("riyadh.status.json")
    told = json.loads(report.read_text())
    told["slots"].append({**told["slots"][0], "version": "1.10.0", "state": "kept"})
    report.write_text(json.dumps({**told, "time": "2026-11-20T08:00:00Z"}))
    found, (row,) = standing(world, [file])
    assert (row.has, row.keeps, row.reported) == ("1.9.0", ("1.10.0",), "2026-11-20T08:00:00Z")
    assert versions_of([row], "1.2.0") == ["1.2.0", "1.9.0", "1.10.0"]
    page = fleet_html(found.name, found.version, str(found.digest), [row])
    assert page.index(">1.9.0<") < page.index(">1.10.0<")
    assert page.index("●") < page.index("○")
    assert "2026-11-20" in page


@pytest.mark.parametrize("time", [17, "<b>", "yesterday", "2" * 99])
def test_a_time_that_is_none_is_no_report(world, tmp_path, time):
    file = site(tmp_path, "riyadh")
    reports(file, world.digest(0))
    report = file.with_name("riyadh.status.json")
    report.write_text(json.dumps({**json.loads(report.read_text()), "time": time}))
    with pytest.raises(InputError):
        standing(world, [file])
