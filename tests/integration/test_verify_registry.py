"""`packager verify` of an image in a real registry, whose storage an enemy writes into."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from engines import docker_registry
from small_release import SmallRelease, make_release

from packager.cli.main import main
from packager.digest import Digest
from packager.oci.registry import push

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Site:
    folder: Path
    release: SmallRelease
    image: str

    def verify(self, *options: str, image: str | None = None) -> int:
        key = str(self.release.public_file)
        return main(["verify", image or self.image, "--key", key, "-q", *options])

    def stored(self, digest: Digest) -> Path:
        blobs = self.folder / "data/docker/registry/v2/blobs/sha256"
        return blobs / digest.hex[:2] / digest.hex / "data"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    base = tmp_path_factory.mktemp("registry")
    with docker_registry(base / "registry") as address:
        release = make_release(base, registry=f"{address}/ml")
        reference = release.built[0].image.reference
        pushed = push(release.folder / "images", {reference: reference})
        yield Site(base / "registry", release, pushed[reference])


def test_accepted_by_digest_and_by_tag(site, capsys):
    assert site.verify("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["image"] == site.image
    assert site.verify(image=site.release.built[0].image.reference) == 0


def test_reports_are_written_for_both_outcomes(site, tmp_path, capsys):
    assert site.verify("--report", str(tmp_path / "good.html")) == 0
    assert "<strong>Verified.</strong>" in (tmp_path / "good.html").read_text()
    other = site.image.replace("@sha256:", "@sha256:" + "0" * 64, 1)[: len(site.image)]
    assert site.verify("--report", str(tmp_path / "bad.json"), image=other) == 4
    report = json.loads((tmp_path / "bad.json").read_bytes())
    assert report["verified"] is False
    assert report["findings"][0]["what"].startswith("step 1, manifest")
    assert site.verify("--report", str(tmp_path / "x.pdf")) == 1


@pytest.mark.parametrize("part", ["config", "layer", "model", "signature", "attestation", "bundle"])
def test_a_changed_byte_in_the_storage_is_refused(site, part, capsys):
    image = site.release.built[0].image
    images = site.release.folder / "images/blobs/sha256"

    def named(kind: str, number: int = 0) -> Digest:
        index = json.loads((site.release.folder / "images/index.json").read_bytes())
        for entry in index["manifests"]:
            manifest = json.loads((images / Digest.parse(entry["digest"]).hex).read_bytes())
            about = json.dumps([entry, manifest])
            if kind in about and image.manifest.digest.hex in about:
                return Digest.parse(manifest["layers"][number]["digest"])
        raise AssertionError(kind)

    digest = {
        "config": lambda: image.config.digest,
        "layer": lambda: image.layers[0].descriptor.digest,
        "model": lambda: image.layers[1].descriptor.digest,
        "signature": lambda: named("dev.cosignproject.cosign/sigs"),
        "attestation": lambda: named("dev.cosignproject.cosign/atts"),
        "bundle": lambda: named("dsse-envelope"),
    }[part]()
    path = site.stored(digest)
    data = path.read_bytes()
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    try:
        assert site.verify() == 4
        assert "step " in capsys.readouterr().err
    finally:
        path.write_bytes(data)
    assert site.verify() == 0


def test_a_registry_that_is_not_there_is_unavailable(site):
    assert site.verify(image="127.0.0.1:9/ml/filetype:1") == 5


def test_in_a_mirror_the_repository_is_named(site):
    reference = site.release.built[0].image.reference
    elsewhere = reference.replace("/ml/", "/mirror/")
    push(site.release.folder / "images", {reference: elsewhere})
    repository = reference.rpartition(":")[0]
    assert site.verify(image=elsewhere) == 4
    assert site.verify("--repository", repository, image=elsewhere) == 0
