"""The chart in the release's layout: seen by oras, skopeo and cosign, installed by Helm itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import make_bundle
from chart_release import DE, SA, chart_release
from engines import docker_registry
from helm import Helm, HelmRefused, helm
from peer_engines import EngineRoom, containerd, engine_room
from small_release import SmallRelease

from packager import pipeline
from packager.domain.trust import TrustFiles
from packager.progress import SILENT

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Pushed:
    """A release with charts, and where `push` put it."""

    release: SmallRelease
    room: EngineRoom
    registry: str
    told: dict[str, str]

    def chart(self, target: str = DE) -> dict[str, str]:
        document = json.loads((self.release.folder / "release.json").read_bytes())
        return next(one["chart"] for one in document["targets"] if one["name"] == target)

    def inside(self, target: str = DE) -> str:
        """`registry/ml/charts/de-x86-64-v3/filetype`, below the registry of the test."""
        repository = self.chart(target)["reference"].rpartition(":")[0]
        return "/".join([self.registry, "ml", *repository.split("/")[-3:]])


@pytest.fixture(scope="module")
def pushed(tmp_path_factory) -> Iterator[Pushed]:
    base = tmp_path_factory.mktemp("helm")
    release = chart_release(base)
    tools = ("oras", "skopeo", "cosign")
    with (
        engine_room(*tools, shared=base, network="host") as room,
        docker_registry(base / "registry") as address,
    ):
        trust = TrustFiles((release.public_file,))
        told = pipeline.push(release.folder, trust, f"{address}/ml", False, SILENT)
        yield Pushed(release, room, address, told)


@pytest.fixture(scope="module")
def go() -> Helm:
    return helm()


def test_oras_sees_the_chart_in_the_layout_and_takes_it_out(pushed):
    layout = f"{pushed.release.folder}/images@{pushed.chart()['digest']}"
    into = pushed.release.folder.parent / "taken"
    manifest = json.loads(
        pushed.room.run("oras", "manifest", "fetch", "--oci-layout", layout).stdout
    )
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    pushed.room.run("oras", "copy", "--from-oci-layout", layout, "--to-oci-layout", f"{into}:1.4.0")
    assert (into / "index.json").is_file()


def test_push_tells_where_charts_are_and_skopeo_finds_them_there(pushed):
    chart = pushed.chart()
    assert pushed.told[chart["reference"]] == f"{pushed.inside()}@{chart['digest']}"
    found = pushed.room.run(
        "skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{pushed.inside()}:1.4.0"
    )
    config = json.loads(found.stdout)["config"]
    assert config["mediaType"] == "application/vnd.cncf.helm.config.v1+json"


@pytest.mark.parametrize("target", [DE, SA])
def test_cosign_takes_the_charts_signature_with_the_releases_key(pushed, target):
    verify = (
        "cosign", "verify", "--insecure-ignore-tlog=true", "--allow-insecure-registry",
        "--key", str(pushed.release.public_file), f"{pushed.inside(target)}:1.4.0",
    )  # fmt: skip
    done = pushed.room.run(*verify)
    (claim,) = json.loads(done.stdout)
    assert claim["critical"]["image"]["docker-manifest-digest"] == pushed.chart(target)["digest"]


def test_helm_pulls_the_chart_and_it_is_the_releases_folder(pushed, go, tmp_path):
    reference = f"oci://{pushed.inside()}"
    assert go("tags", chart=reference.removeprefix("oci://")) == ["1.4.0"]
    go("pull", chart=reference, version="1.4.0", into=tmp_path)
    done = subprocess.run(
        ["tar", "-xzf", tmp_path / "filetype-1.4.0.tgz", "-C", tmp_path], check=False
    )
    assert done.returncode == 0
    assert files_of(tmp_path / "filetype") == files_of(pushed.release.folder / "targets" / DE)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_helm_installs_from_the_registry(pushed, go):
    told = go(
        "install", chart=f"oci://{pushed.inside()}", version="1.4.0", name="one", namespace="models"
    )
    assert told["chart_version"] == "1.4.0"
    image = next(one for one in pushed.release.built if str(one.plan.name) == DE).pinned_reference
    assert f"image: {image}" in told["manifest"]
    assert image in told["notes"]


def test_a_chart_that_was_changed_in_the_registry_is_another_chart_to_cosign(pushed, go, tmp_path):
    """Somebody with the registry's password pushes a chart of the same name and version."""
    folder = tmp_path / "filetype"
    for name, data in files_of(pushed.release.folder / "targets" / DE).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.replace(b"@sha256:", b":latest # "))
    archive = go("package", chart=folder, into=tmp_path)
    remote = f"{pushed.registry}/thief"
    go("push", chart=archive, remote=f"oci://{remote}")
    verify = (
        "cosign", "verify", "--insecure-ignore-tlog=true", "--allow-insecure-registry",
        "--key", str(pushed.release.public_file), f"{remote}/filetype:1.4.0",
    )  # fmt: skip
    done = pushed.room.run(*verify, check=False)
    assert done.returncode != 0
    assert "no signatures found" in done.stderr


def test_helm_refuses_what_is_no_value(pushed, go):
    with pytest.raises(HelmRefused, match="additional properties 'image' not allowed"):
        go(
            "install", chart=pushed.release.folder / "targets" / DE, name="one",
            namespace="models", values={"image": "evil.example/x:1"},
        )  # fmt: skip


def test_a_bundle_of_one_country_carries_its_chart_and_no_other(pushed, tmp_path):
    make_bundle(pushed.release, tmp_path / "sa.tar", SA)
    names = set(
        subprocess.run(
            ["tar", "-tf", tmp_path / "sa.tar"], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    blobs = pushed.release.folder / "images" / "blobs" / "sha256"

    def content(target: str) -> str:
        manifest = json.loads((blobs / pushed.chart(target)["digest"][7:]).read_bytes())
        return manifest["layers"][0]["digest"][7:]

    assert any(name.endswith(content(SA)) for name in names)
    assert not any(name.endswith(content(DE)) for name in names)
    trust = TrustFiles((pushed.release.public_file,))
    report = pipeline.verify(tmp_path / "sa.tar", trust, SILENT)
    assert report.targets == (SA,)


def test_containerd_imports_the_bundle_and_makes_no_image_of_the_chart(pushed, tmp_path):
    make_bundle(pushed.release, tmp_path / "all.tar")
    with engine_room("containerd", "ctr", shared=tmp_path) as room, containerd(room):
        room.run("ctr", "images", "import", str(tmp_path / "all.tar"))
        names = set(room.run("ctr", "images", "list", "-q").stdout.split())
    assert names == {built.image.reference for built in pushed.release.built}
