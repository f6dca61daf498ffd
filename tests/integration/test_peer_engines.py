"""Engines of others take our images; what a test does in their room stays in it.

podman, containerd, Docker 26 and umoci load one tiny image whose program says a line: the same
bytes have to be read and run by each. skopeo copies it into a layout of its own, crane to and from
a registry.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from engines import docker_registry, static_program
from peer_engines import containerd, docker_26, engine_room
from peers import PEERS_ROOT
from tiny_images import SETTINGS, content, layout, tiny_image

from packager.canonical import SourceDateEpoch
from packager.content import Compression
from packager.domain.artifact import Image, Platform
from packager.oci.image import write_image
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layer import LayerStore
from packager.oci.layout_reading import read_layout
from packager.oci.registry import push

pytestmark = pytest.mark.engine

REFERENCE = "registry.example.de/ml/said:1"
LINE = "said from within the image"
SOURCE = f'#include <stdio.h>\nint main(void) {{ puts("{LINE}"); return 0; }}\n'


@dataclass(frozen=True)
class Loadable:
    image: Image
    folder: Path
    layout: Path
    archive: Path
    compression: Compression


@pytest.fixture(scope="module", params=[Compression.GZIP, Compression.ZSTD])
def loadable(tmp_path_factory, request) -> Loadable:
    folder = tmp_path_factory.mktemp("said")
    (folder / "said.c").write_text(SOURCE)
    store = LayerStore(folder / "store", SourceDateEpoch())
    program = static_program(folder / "said.c", folder / "said")
    image = tiny_image(store, REFERENCE, program=program, compression=request.param)
    images = layout(folder / "images", store, image)
    archive = folder / "image.tar"
    with archive.open("wb") as stream:
        stream.writelines(tar_chunks(image_entries(read_layout(images), image)))
    return Loadable(image, folder, images, archive, request.param)


def test_podman_loads_and_runs_it(loadable) -> None:
    with engine_room("podman", "crun", shared=loadable.folder) as room:
        room.run("podman", "load", "--input", str(loadable.archive))
        told = json.loads(room.run("podman", "image", "inspect", REFERENCE).stdout)[0]
        assert told["Id"] == loadable.image.config.digest.hex
        assert told["Digest"] == str(loadable.image.manifest.digest)
        said = room.run("podman", "run", "--rm", "--network", "none", "--read-only", REFERENCE)
        assert LINE in said.stdout


def test_docker_26_loads_and_runs_it(loadable) -> None:
    with (
        engine_room("dockerd", "docker", "runc", shared=loadable.folder) as room,
        docker_26(room),
    ):
        assert room.run("docker", "version", "-f", "{{.Server.Version}}").stdout.startswith("26.")
        room.run("docker", "load", "--input", str(loadable.archive))
        said = room.run("docker", "run", "--rm", "--read-only", REFERENCE)
        assert LINE in said.stdout


def test_containerd_imports_and_runs_it(loadable) -> None:
    with (
        engine_room("containerd", "ctr", "runc", shared=loadable.folder) as room,
        containerd(room),
    ):
        room.run("ctr", "images", "import", str(loadable.archive))
        listed = room.run("ctr", "images", "ls").stdout
        assert REFERENCE in listed
        assert str(loadable.image.manifest.digest) in listed
        assert LINE in room.run("ctr", "run", "--rm", REFERENCE, "said").stdout


def test_umoci_unpacks_it_and_skopeo_copies_it(loadable) -> None:
    with engine_room("umoci", "skopeo", shared=loadable.folder) as room:
        copied = f"oci:{loadable.folder}/copied:it"
        room.run("skopeo", "--insecure-policy", "copy", "--preserve-digests",
                 f"oci-archive:{loadable.archive}", copied)  # fmt: skip
        bundle = loadable.folder / "bundle"
        unpack = ("umoci", "unpack", "--image", f"{loadable.folder}/copied:it", str(bundle))
        if loadable.compression is Compression.ZSTD:  # umoci 0.4 knows none, and says so
            assert "tar+zstd" in room.run(*unpack, check=False).stderr
            return
        room.run(*unpack)
        assert (bundle / "rootfs/opt/model.onnx").read_bytes() == b"weights"


def test_crane_validates_pulls_and_pushes_it(loadable, tmp_path) -> None:
    """What we push is valid, comes back as it was, and goes up from our layout under the same
    digest. Layers are validated only where all are gzip: crane takes each for that, whatever its
    media type says (go-containerregistry issue 1826), and weights are stored plain."""
    digest = str(loadable.image.manifest.digest)
    with (
        docker_registry(tmp_path / "registry") as registry,
        engine_room("crane", shared=[loadable.folder, tmp_path], network="host") as room,
    ):
        push(loadable.layout, {REFERENCE: f"{registry}/ml/said:1"})
        name = f"{registry}/ml/said:1"
        assert "PASS" in room.run("crane", "validate", "--fast", "--remote", name).stdout
        assert room.run("crane", "digest", name).stdout.strip() == digest
        room.run("crane", "pull", "--format=oci", name, f"{tmp_path}/pulled")
        index = json.loads((tmp_path / "pulled/index.json").read_text())
        assert [entry["digest"] for entry in index["manifests"]] == [digest]
        for blob in (tmp_path / "pulled/blobs/sha256").iterdir():
            assert blob.read_bytes() == (loadable.layout / "blobs/sha256" / blob.name).read_bytes()

        room.run("crane", "push", str(loadable.layout), f"{registry}/theirs/said:1")
        assert room.run("crane", "digest", f"{registry}/theirs/said:1").stdout.strip() == digest

        store = LayerStore(tmp_path / "store", SourceDateEpoch())
        files = {"opt/model.onnx": b"weights", "opt/server.json": b"{}"}
        packed = write_image(
            [store.write(content(kind, files)) for kind in ("system", "configuration")],
            SETTINGS, Platform("linux", "amd64"), REFERENCE, SourceDateEpoch(), store.blobs,
        )  # fmt: skip
        push(layout(tmp_path / "packed", store, packed), {REFERENCE: f"{registry}/ml/packed:1"})
        whole = room.run("crane", "validate", "--remote", f"{registry}/ml/packed:1")
        assert "PASS" in whole.stdout


def test_what_happens_in_a_room_stays_there(tmp_path) -> None:
    with engine_room(shared=tmp_path) as room:
        room.run("sh", "-c", f"echo changed >/etc/changed; echo kept >{tmp_path}/kept")
        assert (room.root / "etc/changed").read_text() == "changed\n"
        scratch = room.scratch
        assert room.run("ls", "/sys/class/net").stdout == "lo\n"
        assert " lo " in room.run_here("cat", "/proc/net/dev").stdout.replace(":", " ")
        assert not room.run("false", check=False).stdout
    assert (tmp_path / "kept").read_text() == "kept\n"
    assert not (PEERS_ROOT / "etc/changed").exists()
    assert not scratch.exists()
