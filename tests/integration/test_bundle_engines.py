"""Engines and tools of others take the bundle file as it is: whole, and of one target only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from bundles import make_bundle
from commands import command
from engines import docker_engine, docker_registry, missing
from peer_engines import containerd, docker_26, engine_room
from small_release import SmallRelease, make_release

from packager.domain.artifact import Image

pytestmark = pytest.mark.engine

SA = "sa/x86-64-v3/compose"


@dataclass(frozen=True)
class Bundles:
    release: SmallRelease
    folder: Path
    whole: Path
    part: Path

    def cases(self) -> list[tuple[Path, list[Image]]]:
        images = [built.image for built in self.release.built]
        return [(self.whole, images), (self.part, images[1:])]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    folder = tmp_path_factory.mktemp("bundles")
    release = make_release(folder)
    whole, part = folder / "whole.tar", folder / "part.tar"
    make_bundle(release, whole)
    make_bundle(release, part, SA)
    return Bundles(release, folder, whole, part)


def test_the_docker_of_this_machine_loads_it(bundles) -> None:
    docker_engine().close()
    for bundle, images in bundles.cases():
        done = subprocess.run(
            ["docker", "load", "-i", bundle], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        try:
            for image in images:
                told = subprocess.run(
                    ["docker", "image", "inspect", image.reference], capture_output=True, check=True
                )
                assert json.loads(told.stdout)[0]["Id"] == str(image.config.digest)
            assert done.stdout.count("Loaded image") == len(images)
        finally:
            names = [image.reference for image in images]
            subprocess.run(["docker", "rmi", "-f", *names], capture_output=True, check=False)


def test_the_docker_sdk_loads_it(bundles) -> None:
    docker_engine().close()
    client = docker.from_env()
    try:
        for bundle, images in bundles.cases():
            with bundle.open("rb") as stream:
                loaded = client.images.load(stream)
            expected = {str(image.config.digest) for image in images}
            assert {image.id for image in loaded} == expected
            for image in images:
                client.images.remove(image.reference, force=True)
    finally:
        client.close()


@pytest.fixture
def short() -> Iterator[Path]:
    """podman 4 takes no run folder of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="pod-") as name:
        yield Path(name)


def test_podman_of_this_machine_loads_it(bundles, short) -> None:
    """On Debian 12 that is podman 4.3, whose store is a scratch one here."""
    if not shutil.which("podman") or os.geteuid() != 0:
        missing("podman is not installed, or this is not root")
    places = [f"--root={short}/root", f"--runroot={short}/run", "--storage-driver=vfs"]

    def podman(*arguments: str) -> str:
        done = subprocess.run(["podman", *places, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for bundle, images in bundles.cases():
        podman("load", "--input", str(bundle))
        for image in images:
            told = json.loads(podman("image", "inspect", image.reference))
            assert told[0]["Id"] == image.config.digest.hex
            podman("rmi", image.reference)


def test_docker_26_loads_it(bundles) -> None:
    tools = ("dockerd", "docker", "runc")
    with engine_room(*tools, shared=bundles.folder) as room, docker_26(room):
        for bundle, images in bundles.cases():
            room.run("docker", "load", "--input", str(bundle))
            for image in images:
                told = room.run("docker", "image", "inspect", image.reference).stdout
                assert json.loads(told)[0]["Id"] == str(image.config.digest)
                room.run("docker", "rmi", image.reference)


def test_podman_loads_it(bundles) -> None:
    with engine_room("podman", "crun", shared=bundles.folder) as room:
        for bundle, images in bundles.cases():
            room.run("podman", "load", "--input", str(bundle))
            for image in images:
                told = room.run("podman", "image", "inspect", image.reference).stdout
                assert json.loads(told)[0]["Id"] == image.config.digest.hex
                room.run("podman", "rmi", image.reference)


def test_containerd_imports_it(bundles) -> None:
    tools = ("containerd", "ctr", "runc")
    with engine_room(*tools, shared=bundles.folder) as room, containerd(room):
        for bundle, images in bundles.cases():
            room.run("ctr", "images", "import", str(bundle))
            listed = room.run("ctr", "images", "ls").stdout
            for image in images:
                assert f"{image.manifest.digest}" in listed
                room.run("ctr", "images", "rm", image.reference)


def test_skopeo_copies_each_image_out_of_it(bundles) -> None:
    with engine_room("skopeo", shared=bundles.folder) as room:
        for bundle, images in bundles.cases():
            for image in images:
                copied = f"{bundles.folder}/{bundle.stem}-{image.manifest.digest.hex[:8]}"
                room.run("skopeo", "--insecure-policy", "copy", "--preserve-digests",
                         f"oci-archive:{bundle}:{image.reference}", f"oci:{copied}:it")  # fmt: skip
                index = json.loads((Path(copied) / "index.json").read_bytes())
                assert index["manifests"][0]["digest"] == str(image.manifest.digest)


def test_busybox_tar_reads_it(bundles) -> None:
    with engine_room("busybox", shared=bundles.folder) as room:
        listed = room.run("busybox", "tar", "-tf", str(bundles.whole)).stdout.splitlines()
        assert listed[0] == "release.json"
        told = room.run("busybox", "tar", "-xOf", str(bundles.whole), "checksums.txt").stdout
        assert told == (bundles.release.folder / "checksums.txt").read_text()


def test_our_own_commands_take_it(bundles) -> None:
    key = bundles.release.public_file
    inspected = json.loads(command("inspect", bundles.part, "--key", key, "--json"))
    assert [target["name"] for target in inspected["targets"]] == [SA]
    assert command("digest", bundles.part) == command("digest", bundles.release.folder)
    docker_engine().close()
    loaded = json.loads(command("load", bundles.part, "--key", key, "--json"))
    image = bundles.release.built[1].image
    try:
        assert loaded == {SA: str(image.config.digest)}
    finally:
        subprocess.run(["docker", "rmi", "-f", image.reference], capture_output=True, check=False)


def test_it_is_pushed_into_the_registry_of_the_country(bundles, tmp_path) -> None:
    """Images with signatures and attestations, from the file, without unpacking it."""
    with docker_registry(tmp_path) as registry:
        key = bundles.release.public_file
        told = command("push", bundles.part, f"{registry}/ml", "--key", key, "--json")
        image = bundles.release.built[1].image
        named = json.loads(told)
        pushed = named.pop(image.reference)
        (itself,) = named.values()  # the release, to install from
        assert itself.startswith(f"{registry}/ml/filetype@sha256:")
        assert pushed.startswith(f"{registry}/ml/")
        assert pushed.endswith(str(image.manifest.digest))
        with engine_room("cosign", network="host", shared=bundles.folder) as room:
            room.run("cosign", "verify", "--key", str(key), "--insecure-ignore-tlog=true",
                     "--allow-http-registry", pushed)  # fmt: skip
            other = pushed.replace(image.manifest.digest.hex, "0" * 64)
            refused = room.run("cosign", "verify", "--key", str(key),
                               "--insecure-ignore-tlog=true", "--allow-http-registry", other,
                               check=False)  # fmt: skip
            assert refused.returncode
