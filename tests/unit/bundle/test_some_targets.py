"""A bundle of some targets: all of these, nothing of the others, and still a closed world."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from bundles import entries, make_bundle, member, write_entries
from small_release import SmallRelease, make_release

from packager.attest.verifying import verify
from packager.bundle.document import BundleDocument
from packager.bundle.reading import BundleSource
from packager.canonical import dumps
from packager.errors import InputError, VerificationError

DE, SA = "de/x86-64-v3/kubernetes", "sa/x86-64-v3/compose"


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def whole(release, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "b.tar"
    make_bundle(release, path)
    return path


@pytest.fixture(scope="module")
def part(release, tmp_path_factory):
    path = tmp_path_factory.mktemp("part") / "b.tar"
    make_bundle(release, path, SA)
    return path


def test_it_verifies_and_says_what_it_does_not_carry(release, part):
    report = verify(BundleSource.at(part), release.public)
    assert (report.targets, report.left_out) == ((SA,), (DE,))
    assert {step.title: step.counts for step in report.steps}["images"]["images"] == 1
    assert report.as_dict()["left_out"] == [DE]


def test_nothing_of_the_other_target_travels(release, part):
    names = {info.name for info, _ in entries(part)}
    german, saudi = (built.image for built in release.built)
    assert not [name for name in names if name.startswith("targets/de/")]
    assert not [name for name in names if "de-x86-64-v3-kubernetes" in name]
    shared = {layer.descriptor.digest for layer in saudi.layers}
    only_german = {layer.descriptor.digest for layer in german.layers} - shared
    assert only_german
    assert not {f"blobs/sha256/{digest.hex}" for digest in only_german} & names
    assert {f"blobs/sha256/{digest.hex}" for digest in shared} <= names


def test_what_engines_follow_names_the_carried_image_only(release, part):
    found = {info.name: data for info, data in entries(part)}
    names = {info.name for info, _ in entries(part)}
    (image,) = json.loads(found["manifest.json"])
    assert image["RepoTags"] == [release.built[1].image.reference]
    assert {image["Config"], *image["Layers"]} <= names
    index = json.loads(found["index.json"])["manifests"]
    german = release.built[0].image
    assert german.reference not in found["index.json"].decode()
    for entry in index:
        manifest = json.loads(found[f"blobs/sha256/{entry['digest'][7:]}"])
        for named in (manifest["config"], *manifest["layers"]):
            assert f"blobs/sha256/{named['digest'][7:]}" in names


def test_of_all_targets_the_lists_for_engines_are_the_signed_ones(whole):
    found = {info.name: data for info, data in entries(whole)}
    for name in ("oci-layout", "index.json", "manifest.json"):
        assert found[name] == found[f"images/{name}"]


def test_a_bundle_is_cut_from_a_bundle_as_from_the_folder(release, whole, part, tmp_path):
    again = tmp_path / "again.tar"
    make_bundle(replace(release, folder=whole), again, SA)
    assert again.read_bytes() == part.read_bytes()


def test_what_is_not_there_cannot_be_cut_out(release, part, tmp_path):
    with pytest.raises(InputError) as caught:
        make_bundle(replace(release, folder=part), tmp_path / "b.tar", DE)
    assert DE in caught.value.findings[0].what
    with pytest.raises(InputError):
        make_bundle(release, tmp_path / "b.tar", "fr/x86-64-v3/compose")


@pytest.mark.parametrize("targets", [(), (SA, SA), (SA, DE), ("xx/a/compose",), (DE, SA, "x/y/z")])
def test_another_declaration_asks_for_other_bytes(release, part, tmp_path, targets):
    """Whatever a bundle says that it carries, it must be all of that and no more."""
    found = entries(part)
    described = json.loads(next(data for info, data in found if info.name == "bundle.json"))
    described["targets"] = list(targets)
    changed = [
        member(info.name, dumps(described) if info.name == "bundle.json" else data)
        for info, data in found
    ]
    path = tmp_path / "b.tar"
    write_entries(path, changed)
    with pytest.raises(VerificationError):
        verify(BundleSource.at(path), release.public)


def test_nothing_may_be_missing_from_what_is_declared(release, part, tmp_path):
    found = entries(part)
    for missing in [info.name for info, _ in found]:
        path = tmp_path / "b.tar"
        write_entries(path, [member(i.name, data) for i, data in found if i.name != missing])
        with pytest.raises(VerificationError):
            verify(BundleSource.at(path), release.public)


def test_nothing_of_the_left_out_may_be_there(release, whole, part, tmp_path):
    described = BundleSource.at(part).document
    assert isinstance(described, BundleDocument)
    changed = [
        member(info.name, described.as_bytes() if info.name == "bundle.json" else data)
        for info, data in entries(whole)
    ]
    path = tmp_path / "b.tar"
    write_entries(path, changed)
    with pytest.raises(VerificationError) as caught:
        verify(BundleSource.at(path), release.public)
    assert "step 5" in caught.value.findings[0].what
