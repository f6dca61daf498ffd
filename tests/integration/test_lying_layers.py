"""A layer that is not what its image says: which engines refuse to load it (docs/adr/0051).

`verify` takes a key holder's word for what a layer unpacks to, since all of them ask it again.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest
from engines import docker_engine
from peer_engines import containerd, docker_26, engine_room
from tiny_images import layout, tiny_image

from packager.archive import Entry
from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layer import LayerStore
from packager.oci.layout_reading import read_layout

pytestmark = pytest.mark.engine
REFERENCE = "registry.example.de/ml/lying:1"


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> list[Entry]:
    base = tmp_path_factory.mktemp("honest")
    store = LayerStore(base / "store", SourceDateEpoch())
    image = tiny_image(store, REFERENCE)
    return image_entries(read_layout(layout(base / "images", store, image)), image)


def data_of(entries: list[Entry]) -> dict[str, bytes]:
    found = {}
    for entry in entries:
        with entry.open() as stream:
            found[entry.path] = stream.read()
    return found


@pytest.fixture(scope="module", params=["another diff_id", "no gzip"])
def lying(request, honest, tmp_path_factory) -> Path:
    """An archive that is whole by its digests, whose first layer is not what the image says."""
    files = data_of(honest)
    index = json.loads(files["index.json"])
    manifest = json.loads(files.pop(blob(index["manifests"][0]["digest"])))
    config = json.loads(files.pop(blob(manifest["config"]["digest"])))
    layer = manifest["layers"][0]
    packed = files.pop(blob(layer["digest"]))
    if request.param == "no gzip":
        packed = b"\x1f\x8b" + packed[:1:-1]
    else:
        packed = gzip.compress(gzip.decompress(packed) + bytes(512), mtime=0)
    put(files, layer, packed)
    put(files, manifest["config"], dumps(config))
    put(files, index["manifests"][0], dumps(manifest))
    files["index.json"] = dumps(index)
    docker = json.loads(files["manifest.json"])
    docker[0]["Config"] = blob(manifest["config"]["digest"])
    docker[0]["Layers"] = [blob(it["digest"]) for it in manifest["layers"]]
    files["manifest.json"] = dumps(docker)
    return archive(files, tmp_path_factory.mktemp("lying"))


def blob(digest: str) -> str:
    return f"blobs/sha256/{Digest.parse(digest).hex}"


def put(files: dict[str, bytes], descriptor: dict, data: bytes) -> None:
    descriptor |= {"digest": str(Digest.of(data)), "size": len(data)}
    files[blob(descriptor["digest"])] = data


def archive(files: dict[str, bytes], folder: Path) -> Path:
    path = folder / "image.tar"
    with path.open("wb") as stream:
        stream.writelines(tar_chunks([Entry.of_bytes(name, data) for name, data in files.items()]))
    return path


def test_the_honest_archive_has_a_gzip_layer(honest):
    files = data_of(honest)
    manifest = json.loads(files[blob(json.loads(files["index.json"])["manifests"][0]["digest"])])
    assert manifest["layers"][0]["mediaType"] == MediaType.LAYER_GZIP


def test_podman_refuses(lying):
    with engine_room("podman", "crun", shared=lying.parent) as room:
        assert room.run("podman", "load", "--input", str(lying), check=False).returncode
        assert room.run("podman", "image", "exists", REFERENCE, check=False).returncode


def test_docker_26_refuses(lying):
    with engine_room("dockerd", "docker", "runc", shared=lying.parent) as room, docker_26(room):
        assert room.run("docker", "load", "--input", str(lying), check=False).returncode
        assert room.run("docker", "image", "inspect", REFERENCE, check=False).returncode


def test_docker_of_this_machine_refuses(lying):
    docker_engine()
    loaded = ["docker", "load", "--input", str(lying)]
    assert subprocess.run(loaded, capture_output=True, check=False).returncode
    seen = ["docker", "image", "inspect", REFERENCE]
    assert subprocess.run(seen, capture_output=True, check=False).returncode


def test_containerd_refuses(lying):
    with engine_room("containerd", "ctr", "runc", shared=lying.parent) as room, containerd(room):
        room.run("ctr", "images", "import", str(lying), check=False)
        assert room.run("ctr", "run", "--rm", REFERENCE, "x", check=False).returncode
        assert "sha256" not in room.run("ctr", "snapshots", "ls").stdout
