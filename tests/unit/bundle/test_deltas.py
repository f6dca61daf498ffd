"""A delta and the release that it stands on are the whole bundle, byte for byte, or refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from bundles import entries, member, trusting, write_entries
from small_release import SmallRelease, build_targets, make_release
from weights import fine_tuned, initializers

from packager import pipeline
from packager.bundle.explaining import Fate, explain
from packager.bundle.reading import BundleSource
from packager.domain.target import TargetName
from packager.errors import CallError, OutputError, VerificationError
from packager.progress import SILENT

SA = "sa/x86-64-v3/compose"
WEIGHTS = 3 << 20


@dataclass(frozen=True)
class History:
    """Three releases by one key, each a fine-tune of the one before, with bundles and deltas."""

    folder: Path
    releases: tuple[SmallRelease, ...]
    changed: int

    def bundle(self, version: int) -> Path:
        return self.folder / f"{version}.tar"

    def delta(self, version: int) -> Path:
        return self.folder / f"{version - 1}-to-{version}.tar"


def bundled(release: SmallRelease, output: Path, *targets: str, old: Path | None = None) -> Path:
    chosen = [TargetName.parse(target) for target in targets]
    pipeline.bundle(release.folder, trusting(release), output, chosen, SILENT, delta_from=old)
    return output


def applied(history: History, output: Path, old: Path, *deltas: Path) -> Path:
    pipeline.apply_deltas(old, deltas, trusting(history.releases[0]), output, SILENT)
    return output


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> History:
    folder = tmp_path_factory.mktemp("history")
    first = initializers(WEIGHTS)
    second, changed = fine_tuned(first, 0.05)
    third, _ = fine_tuned(second, 0.05, seed=7)
    key = None
    releases = []
    for number, tensors in enumerate((first, second, third)):
        base = folder / f"release{number}"
        base.mkdir()
        made = make_release(
            base,
            version=f"1.{number}.0",
            key_file=key,
            build=partial(build_targets, weights=b"".join(tensors)),
        )
        key = made.key_file
        releases.append(made)
    found = History(folder, tuple(releases), changed)
    for number, release in enumerate(releases):
        bundled(release, found.bundle(number))
        if number:
            bundled(release, found.delta(number), old=found.bundle(number - 1))
    return found


def findings(error: pytest.ExceptionInfo[VerificationError]) -> str:
    return " ".join(str(finding.as_dict()) for finding in error.value.findings)


def test_a_delta_of_a_fine_tune_is_small(history):
    """New bytes, and what always travels: lists, signatures, evidence of the new version."""
    weights = history.releases[1].built[0].image.layers[1].descriptor.size
    always = history.bundle(1).stat().st_size - weights
    assert history.delta(1).stat().st_size < history.changed * 1.02 + always
    recipe = next(data for info, data in entries(history.delta(1)) if "recipe" in info.name)
    assert recipe.startswith(b"recipe 1 ")


@pytest.mark.parametrize("kind", ["bundle", "folder", "parts"])
def test_applied_to_the_old_release_it_is_the_whole_bundle(history, tmp_path, kind):
    old = history.bundle(0)
    if kind == "folder":
        old = history.releases[0].folder
    elif kind == "parts":
        cut = pipeline.Cut(500_000, str(history.releases[0].key_file))
        old = tmp_path / "parts"
        pipeline.bundle(history.bundle(0), trusting(history.releases[0]), old, [], SILENT, cut)
    made = applied(history, tmp_path / "made.tar", old, history.delta(1))
    assert made.read_bytes() == history.bundle(1).read_bytes()


def test_the_delta_is_the_same_from_folder_and_bundle(history, tmp_path):
    again = bundled(history.releases[1], tmp_path / "d.tar", old=history.releases[0].folder)
    assert again.read_bytes() == history.delta(1).read_bytes()


def test_a_chain_of_deltas_is_the_newest_bundle(history, tmp_path):
    made = applied(
        history, tmp_path / "made.tar", history.bundle(0), history.delta(1), history.delta(2)
    )
    assert made.read_bytes() == history.bundle(2).read_bytes()


def test_a_delta_verifies_on_its_base_without_being_applied(history):
    trust = trusting(history.releases[0])
    bases = [history.bundle(0), history.delta(1)]
    report = pipeline.verify(history.delta(2), trust, SILENT, bases)
    assert report == pipeline.verify(history.bundle(2), trust, SILENT)


def test_without_a_base_a_delta_says_what_it_stands_on(history):
    with pytest.raises(VerificationError) as caught:
        pipeline.verify(history.delta(1), trusting(history.releases[0]), SILENT)
    assert "1.0.0" in findings(caught)


def test_another_base_is_refused_by_name(history, tmp_path):
    with pytest.raises(VerificationError) as caught:
        applied(history, tmp_path / "made.tar", history.bundle(0), history.delta(2))
    assert "another release" in findings(caught)
    assert "1.1.0" in findings(caught)
    assert "1.0.0" in findings(caught)
    with pytest.raises(VerificationError):
        applied(history, tmp_path / "m.tar", history.bundle(0), history.delta(2), history.delta(1))
    with pytest.raises(VerificationError) as caught:
        applied(history, tmp_path / "made.tar", history.bundle(0), history.bundle(1))
    assert "whole" in findings(caught)
    assert not list(tmp_path.glob("m*"))


def test_a_damaged_base_is_refused_by_name(history, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(history.releases[0].folder, folder)
    weights = history.releases[0].built[0].image.layers[1].descriptor.digest
    path = folder / "images/blobs/sha256" / weights.hex
    data = bytearray(path.read_bytes())
    position = data.index(history_bytes(history)) + 5
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        applied(history, tmp_path / "made.tar", folder, history.delta(1))
    assert "stands on is damaged" in findings(caught)
    assert weights.hex in findings(caught)
    assert not (tmp_path / "made.tar").exists()


def history_bytes(history: History) -> bytes:
    """Bytes of the old weights that the new ones still have."""
    old, new = (
        release.built[0].image.layers[1].blob.read_bytes() for release in history.releases[:2]
    )
    for start in range(4096, len(old), 4096):
        if old[start : start + 64] == new[start : start + 64]:
            return old[start : start + 64]
    raise AssertionError("nothing is left of the old weights")


def test_every_changed_block_of_a_delta_is_refused(history, tmp_path):
    data = history.delta(1).read_bytes()
    path = tmp_path / "d.tar"
    trust = trusting(history.releases[0])
    for position in range(100, len(data), max(512, len(data) // 60)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(VerificationError):
            pipeline.verify(path, trust, SILENT, [history.bundle(0)])


def test_a_recipe_that_leads_elsewhere_is_refused(history, tmp_path):
    """Whatever an enemy writes into a delta, only the signed bytes come out of it."""
    found = entries(history.delta(1))
    recipe = next(data for info, data in found if info.name.endswith(".recipe")).decode()
    lines = recipe.splitlines(keepends=True)
    old = lines[1].split()[1]
    for changed in (
        recipe.replace(old, "ab" * 32),
        lines[0] + "".join(reversed(lines[1:])),
        recipe.replace(lines[1], lines[1].replace(" 0 ", " 1 ", 1)),
        lines[0].replace("recipe 1 ", "recipe 1 " + "00" * 32 + " "),
    ):
        _, size = changed, len(changed)
        members = []
        for info, data in found:
            if info.name.endswith(".recipe"):
                members.append(member(info.name, changed.encode()))
            elif info.name == "bundle.json":
                members.append(member(info.name, _renamed(data, changed.encode(), size)))
            else:
                members.append(member(info.name, data))
        write_entries(tmp_path / "d.tar", members)
        with pytest.raises(VerificationError):
            pipeline.verify(
                tmp_path / "d.tar", trusting(history.releases[0]), SILENT, [history.bundle(0)]
            )


def _renamed(data: bytes, recipe: bytes, size: int) -> bytes:
    from packager.canonical import dumps
    from packager.digest import Digest

    document = json.loads(data)
    document["delta"]["rebuilt"][0]["recipe"] = {"digest": str(Digest.of(recipe)), "size": size}
    return dumps(document)


@pytest.mark.parametrize("path", ["images/index.json", "release.json", "x", "targets/../x"])
def test_only_what_may_stay_behind_can_be_kept(history, tmp_path, path):
    from packager.canonical import dumps

    members = []
    for info, data in entries(history.delta(1)):
        if info.name == "bundle.json":
            document = json.loads(data)
            document["delta"]["kept"] = sorted([*document["delta"]["kept"], path])
            data = dumps(document)
        members.append(member(info.name, data))
    write_entries(tmp_path / "d.tar", members)
    with pytest.raises(VerificationError):
        pipeline.verify(
            tmp_path / "d.tar", trusting(history.releases[0]), SILENT, [history.bundle(0)]
        )


def test_a_delta_for_one_target_stands_on_a_bundle_of_that_target(history, tmp_path):
    old = bundled(history.releases[0], tmp_path / "old.tar", SA)
    whole = bundled(history.releases[1], tmp_path / "whole.tar", SA)
    delta = bundled(history.releases[1], tmp_path / "delta.tar", SA, old=old)
    assert applied(history, tmp_path / "made.tar", old, delta).read_bytes() == whole.read_bytes()
    report = pipeline.verify(delta, trusting(history.releases[0]), SILENT, [old])
    assert report.targets == (SA,)


def test_a_base_of_some_targets_is_not_called_damaged(history, tmp_path):
    """As a site has it that took its one target from a registry."""
    some = bundled(history.releases[0], tmp_path / "some.tar", SA)
    output = tmp_path / "applied.tar"
    with pytest.raises(CallError) as error:
        applied(history, output, some, history.delta(1))
    (finding,) = error.value.findings
    assert "does not have here" in finding.what
    assert finding.got == SA
    assert SA in finding.expected
    assert "--target" in finding.next_step
    assert not output.exists()


@pytest.mark.parametrize("number", [0, 1])
def test_a_base_that_lacks_what_is_needed_is_refused(history, tmp_path, number):
    """Its system layer is kept, its weights are copied from."""
    folder = tmp_path / "old"
    shutil.copytree(history.releases[0].folder, folder)
    layer = history.releases[0].built[0].image.layers[number].descriptor.digest
    (folder / "images/blobs/sha256" / layer.hex).unlink()
    with pytest.raises(VerificationError) as caught:
        applied(history, tmp_path / "made.tar", folder, history.delta(1))
    assert layer.hex in findings(caught)
    assert not (tmp_path / "made.tar").exists()


def test_what_travels_and_why_is_told(history):
    found = explain(BundleSource.at(history.delta(1)))
    named = {line.label for line in found.lines}
    assert "model layer" in named
    assert any(label.startswith("evidence/") for label in named), "which evidence, not only that"
    assert found.size == history.delta(1).stat().st_size
    by_fate = {fate: [line for line in found.lines if line.fate is fate] for fate in Fate}
    assert {line.what for line in by_fate[Fate.REBUILT]} == {"model layer"}
    assert "system layer" in {line.what for line in by_fate[Fate.KEPT]}
    assert sum(line.travels for line in by_fate[Fate.KEPT]) == 0
    assert found.whole_size == sum(
        file.size for file in BundleSource.at(history.bundle(1)).listing.files.values()
    )
    assert "1.0.0" in str(found.base)
    whole = explain(BundleSource.at(history.bundle(1)))
    assert {line.fate for line in whole.lines} == {Fate.WHOLE}
    assert whole.base is None


def test_nothing_of_the_old_bundle_is_overwritten(history, tmp_path):
    with pytest.raises(OutputError):
        applied(history, history.bundle(0), history.bundle(0), history.delta(1))


def test_the_same_delta_each_time(history, tmp_path):
    release = replace(history.releases[1], folder=history.bundle(1))
    again = bundled(release, tmp_path / "d.tar", old=history.bundle(0))
    assert again.read_bytes() == history.delta(1).read_bytes()
