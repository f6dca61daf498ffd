"""`targets diff`: a change of law, and the releases that it would refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from packager.resources import data_folder

RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: a, version: 1.0}
model: {path: model.onnx, license: MIT}
targets:
  - {jurisdiction: de, hardware: x86-64-v3, platform: kubernetes, regions: [aws/eu-central-2]}
  - {jurisdiction: sa, hardware: x86-64-v3, platform: compose, regions: [gcp/me-central2]}
"""


@pytest.fixture
def states(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The catalogue as it is, twice, and a release that runs German data in Zurich."""
    for name in ("old", "new"):
        shutil.copytree(data_folder("targets"), tmp_path / name)
    release = tmp_path / "release.yaml"
    release.write_text(RELEASE)
    return tmp_path / "old", tmp_path / "new", release


def test_nothing_changed(packager, states):
    done = packager("targets", "diff", *states)
    assert done.code == 0
    assert "no rule differs" in done.out
    assert "none is refused" in done.out


def test_an_adequacy_decision_falls(packager, states):
    # Art. 45(5) GDPR: the Commission repeals a decision; Switzerland is taken as the example.
    old, new, release = states
    groups = new / "groups.yaml"
    text = groups.read_text()
    assert "[AD, AR, BR, CH, FO" in text
    lines = [line for line in text.splitlines() if not line.strip().startswith("CH: {instrument")]
    assert len(lines) == len(text.splitlines()) - 1
    groups.write_text("\n".join(lines).replace("[AD, AR, BR, CH, FO", "[AD, AR, BR, FO"))
    done = packager("targets", "diff", old, new, release, "--json")
    assert done.code == 3
    told = done.json()
    assert [one["target"] for one in told["refused"]] == ["de/x86-64-v3/kubernetes"]
    controls = {one["control"] for one in told["refused"][0]["decisions"]}
    assert {"eu/gdpr-transfer", "eu/gdpr-logs"} <= controls
    changed = {one["control"]: one for one in told["profiles"]["de"]}
    assert changed["eu/gdpr-transfer"] == {
        "control": "eu/gdpr-transfer",
        "change": "changed",
        "what": ["within", "adequacy"],
    }
    assert "sa" not in told["profiles"]
    assert packager("targets", "diff", new, old, release).code == 0


def test_the_court_strikes_the_framework_down(packager, states):
    # C-703/25 P was pending in June 2026; its end would be felt by whoever declared the path.
    old, new, release = states
    release.write_text(
        RELEASE.replace("aws/eu-central-2", "aws/us-east-1")
        + "transfers:\n  - {mechanism: eu/dpf, to: [US], recipient: Example Inc.,"
        " document: list of participants, dated: 2026-05-12}\n"
    )
    assert packager("check", release).code == 0
    profile = new / "jurisdictions" / "eu.yaml"
    profile.write_text(profile.read_text().replace("  - id: dpf\n", "  - id: repealed\n"))
    told = packager("targets", "diff", old, new, release, "--json").json()
    assert [one["target"] for one in told["refused"]] == ["de/x86-64-v3/kubernetes"]
    assert {"control": "eu/dpf", "change": "removed", "what": []} in told["profiles"]["de"]


def test_a_rule_is_added_and_another_removed(packager, states):
    old, new, release = states
    profile = new / "jurisdictions" / "sa.yaml"
    profile.write_text(
        profile.read_text().replace("  - id: sdaia-ethics\n", "  - id: sdaia-principles\n")
    )
    told = packager("targets", "diff", old, new, release, "--json").json()
    assert [(one["control"], one["change"]) for one in told["profiles"]["sa"]] == [
        ("sa/sdaia-ethics", "removed"),
        ("sa/sdaia-principles", "added"),
    ]
    assert told["refused"] == []


def test_a_profile_that_is_gone_refuses(packager, states):
    old, new, release = states
    (new / "jurisdictions" / "sa.yaml").unlink()
    done = packager("targets", "diff", old, new, release)
    assert done.code == 3
    assert "unknown jurisdiction 'sa'" in done.out


def test_folders_of_ones_own_extend_the_built_in_catalogue(packager, tmp_path):
    for name, rules in (("old", "[]"), ("new", "")):
        folder = tmp_path / name / "jurisdictions"
        folder.mkdir(parents=True)
        (folder / "de-acme.yaml").write_text(
            "apiVersion: packager/v1\nkind: Jurisdiction\nid: de-acme\nname: Acme\n"
            "extends: [de]\ncountries: [DE]\nconfidence: high\nreviewed: 2026-11-23\n"
            f"rules: {rules}\n"
        )
    with (tmp_path / "new" / "jurisdictions" / "de-acme.yaml").open("a") as file:
        file.write(
            "  - id: home\n    demand: inference_within\n    data: [personal]\n    within: [DE]\n"
            "    text: At home.\n    law: {name: Acme, article: '1', source: https://example.org, "
            "confidence: high}\n"
        )
    release = tmp_path / "release.yaml"
    release.write_text(RELEASE.replace("jurisdiction: de", "jurisdiction: de-acme"))
    done = packager("targets", "diff", tmp_path / "old", tmp_path / "new", release, "--json")
    assert done.code == 3
    assert list(done.json()["profiles"]) == ["de-acme"]
    assert [one["control"] for one in done.json()["refused"][0]["decisions"]] == ["de-acme/home"]


def test_a_folder_that_is_none(packager, tmp_path):
    done = packager("targets", "diff", tmp_path, tmp_path)
    assert done.code == 1
    assert "no such folder of profiles" in done.err
