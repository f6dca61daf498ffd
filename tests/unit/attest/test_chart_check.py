"""Charts in a release: bound by the root, signed, and the same bytes as the target's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chart_release import COMPOSE, DE, SA, chart_release
from small_release import EPOCH, change_root, packed

from packager.attest.cosign import manifest_referrer, manifest_signature, repository_of
from packager.attest.verifying import verify
from packager.canonical import dumps
from packager.digest import Digest
from packager.errors import VerificationError
from packager.oci.chart import chart_artifact
from packager.release_folder import ReleaseFolder
from packager.release_source import FolderSource


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return chart_release(tmp_path_factory.mktemp("charts"))


def chart_of(release, target=DE):
    document = json.loads((release.folder / "release.json").read_bytes())
    return next(one["chart"] for one in document["targets"] if one["name"] == target)


def test_a_release_with_charts_verifies_and_says_how_many(release):
    report = verify(release.folder, release.public)
    (targets,) = [step for step in report.steps if step.title == "targets"]
    assert targets.counts["charts"] == 2
    assert report.targets == (DE, SA, COMPOSE)


def test_the_root_names_charts_where_helm_looks_for_them(release):
    assert chart_of(release)["reference"] == (
        "registry.example.de/ml/charts/de-x86-64-v3/filetype:1.4.0"
    )
    folder = ReleaseFolder.read(FolderSource(release.folder))
    elsewhere = [where for _, where in folder.charts("127.0.0.1:5000/x").values()]
    assert elsewhere == [
        "127.0.0.1:5000/x/charts/de-x86-64-v3/filetype:1.4.0",
        "127.0.0.1:5000/x/charts/sa-x86-64-v3/filetype:1.4.0",
    ]
    assert len(folder.charts(None)) == 2


def test_the_same_release_has_the_same_charts(release, tmp_path):
    again = chart_release(tmp_path, key_file=release.key_file)
    assert chart_of(again) == chart_of(release)


# Faults on the inside, validly sealed: what a careless or dishonest builder would make.


def _swapped(built, signer, layout, folder):
    """Charts that are not the files that the release shows."""
    return _packed_with(layout, signer, packed(built, signer, layout, folder), _more_replicas)


def _two_layers(built, signer, layout, folder):
    def twice(metadata, files):
        artifact = chart_artifact(metadata, files, EPOCH)
        manifest = json.loads(artifact.manifest)
        manifest["layers"] *= 2
        return _again(artifact, dumps(manifest))

    return _packed_with(layout, signer, packed(built, signer, layout, folder), twice)


def _no_archive(built, signer, layout, folder):
    def broken(metadata, files):
        artifact = chart_artifact(metadata, files, EPOCH)
        config, _ = artifact.blobs
        damaged = b"\x1f\x8b" + bytes(100)
        manifest = json.loads(artifact.manifest)
        manifest["layers"][0] |= {"digest": str(Digest.of(damaged)), "size": len(damaged)}
        made = replace(artifact, blobs=(config, (Digest.of(damaged), damaged)))
        return _again(made, dumps(manifest))

    return _packed_with(layout, signer, packed(built, signer, layout, folder), broken)


def _unsigned(built, signer, layout, folder):
    class Unsigned:
        def add_artifact(self, artifact):
            if artifact.tag is None:
                layout.add_artifact(artifact)

    return packed(built, signer, Unsigned(), folder)


def _signed_in_one_form(built, signer, layout, folder):
    class Classic:
        def add_artifact(self, artifact):
            if artifact.tag or artifact.subject is None:
                layout.add_artifact(artifact)

    return packed(built, signer, Classic(), folder)


def _left_out(built, signer, layout, folder):
    class Nowhere:
        def add_artifact(self, artifact):
            pass

    return packed(built, signer, Nowhere(), folder)


def _for_another_repository(built, signer, layout, folder):
    class Renamed:
        def add_artifact(self, artifact):
            if artifact.tag is None:
                layout.add_artifact(artifact)
            if artifact.subject is None:
                digest = artifact.descriptor.digest
                layout.add_artifact(manifest_signature(digest, "registry.example.de/x", signer))

    return packed(built, signer, Renamed(), folder)


def _more_replicas(metadata, files):
    changed = {**files, "values.yaml": files["values.yaml"].replace(b"replicas: 2", b"replicas: 9")}
    assert changed != files
    return chart_artifact(metadata, changed, EPOCH)


def _packed_with(layout, signer, charts, make):
    made = {}
    for target, chart in charts.items():
        metadata = json.loads(chart.artifact.blobs[0][1])
        folder = layout._folder.parent / "targets" / target
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        other = replace(chart, artifact=make(metadata, files))
        layout.add_artifact(other.artifact)
        repository = repository_of(chart.reference)
        layout.add_artifact(manifest_signature(other.digest, repository, signer))
        layout.add_artifact(manifest_referrer(other.artifact.descriptor, repository, signer))
        made[target] = other
    return made


def _again(artifact, manifest):
    descriptor = replace(artifact.descriptor, digest=Digest.of(manifest), size=len(manifest))
    return replace(artifact, manifest=manifest, descriptor=descriptor)


FAULTS: dict[str, tuple[Callable, str]] = {
    "another chart than the folder's": (_swapped, "the packed chart is not the target's folder"),
    "two layers": (_two_layers, "it is no chart, or more than one"),
    "no archive": (_no_archive, "the chart cannot be unpacked"),
    "not signed": (_unsigned, "the chart is not signed"),
    "signed in one form": (_signed_in_one_form, "no signature in the form of a bundle"),
    "not in the layout": (_left_out, "the chart is not in the index"),
    "signed for another repository": (_for_another_repository, "the chart is not signed"),
}


@pytest.mark.parametrize(("charts", "told"), FAULTS.values(), ids=FAULTS)
def test_a_chart_that_is_not_as_it_should_be_is_refused(tmp_path, charts, told):
    release = chart_release(tmp_path, charts=charts, layers=tmp_path.parent / "layers")
    with pytest.raises(VerificationError) as caught:
        verify(release.folder, release.public)
    assert any(told in finding.what for finding in caught.value.findings)


@pytest.mark.parametrize(
    "change",
    [{"digest": "sha256:0"}, {"pinned": "registry.example.de/x@sha256:1"}, {"more": 1}],
)
def test_a_root_that_names_a_chart_oddly_is_refused(tmp_path, change):
    release = chart_release(tmp_path)

    def apply(document):
        document["targets"][0]["chart"] |= change

    change_root(release, apply)
    with pytest.raises(VerificationError, match="document"):
        verify(release.folder, release.public)


def test_a_changed_byte_of_a_chart_is_seen(tmp_path):
    release = chart_release(tmp_path)
    manifest = json.loads(release.blob(Digest.parse(chart_of(release)["digest"])).read_bytes())
    blob: Path = release.blob(Digest.parse(manifest["layers"][0]["digest"]))
    data = bytearray(blob.read_bytes())
    data[40] ^= 1
    blob.unlink()
    blob.write_bytes(data)
    with pytest.raises(VerificationError):
        verify(release.folder, release.public)
