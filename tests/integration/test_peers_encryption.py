"""skopeo of Debian 13 opens what we encrypt, and we open what skopeo encrypts; others do not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from peer_engines import engine_room
from peers import Peers, peers
from small_release import EPOCH, SmallRelease, encrypted_targets, make_release
from tampering import flip
from tiny_images import layout, tiny_image

from packager.attest.keys import generate_key
from packager.digest import Digest
from packager.oci.blobs import BlobFolder
from packager.oci.decryption import DecryptionKey, decrypt_image
from packager.oci.layer import LayerStore
from packager.oci.layout import read_layout

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Room:
    peers: Peers
    base: Path
    release: SmallRelease

    def decrypt(self, source: str, key: str, name: str, reference: str):
        room = self.peers.inside(self.peers.room)
        return self.peers.run(
            "skopeo", "--insecure-policy", "copy", "--decryption-key", key,
            f"oci:{source}:{reference}", f"oci:{room}/{name}:plain", offline=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    base = tmp_path_factory.mktemp("encryption")
    with peers("skopeo", "openssl") as found:
        generate_key(base / "ec.pem", None)
        generate_key(base / "rsa.pem", None, "rsa-3072")
        generate_key(base / "stranger.pem", None)
        release = make_release(base, build=encrypted_targets(base / "ec.pub", base / "rsa.pub"))
        yield Room(found, base, release)


@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_skopeo_opens_it_for_each_recipient(room, name):
    images = room.peers.bring(room.release.folder / "images", f"images-{name}")
    key = room.peers.bring(room.base / f"{name}.pem")
    image = room.release.built[0].image
    done = room.decrypt(images, key, f"opened-{name}", image.reference)
    assert done.returncode == 0, done.stderr
    blobs = room.peers.room / f"opened-{name}" / "blobs/sha256"
    for layer in image.layers:
        plain = (layer.plain or layer.descriptor).digest
        assert Digest.of_file(blobs / plain.hex) == plain
    assert (blobs / image.config.digest.hex).exists()


def test_skopeo_refuses_a_stranger_s_key(room):
    images = room.peers.bring(room.release.folder / "images", "images-stranger")
    key = room.peers.bring(room.base / "stranger.pem")
    done = room.decrypt(images, key, "stranger", room.release.built[0].image.reference)
    assert done.returncode != 0
    assert "none of the private keys could be used" in done.stderr


def test_skopeo_refuses_a_flipped_bit(room, tmp_path):
    shutil.copytree(room.release.folder / "images", tmp_path / "images")
    image = room.release.built[0].image
    flip(tmp_path / "images/blobs/sha256" / image.layers[1].descriptor.digest.hex)
    images = room.peers.bring(tmp_path / "images", "images-flipped")
    key = room.peers.bring(room.base / "ec.pem", "ec-again.pem")
    assert room.decrypt(images, key, "flipped", image.reference).returncode != 0


@pytest.mark.parametrize("name", ["ec", "rsa"])
def test_we_open_what_skopeo_encrypted(room, name, tmp_path):
    """Its gzip layers: plain tars it compresses on the way, and notes the digest of before."""
    image = tiny_image(LayerStore(tmp_path / "store", EPOCH), model=b"weights" * 999)
    store = LayerStore(tmp_path / "store", EPOCH)
    source = room.peers.bring(layout(tmp_path / "layout", store, image), f"plain-{name}")
    public = room.peers.bring(room.base / f"{name}.pub")
    inside = room.peers.inside(room.peers.room)
    done = room.peers.run(
        "skopeo", "--insecure-policy", "copy", "--encryption-key", f"jwe:{public}",
        "--encrypt-layer", "0", "--encrypt-layer", "2",
        f"oci:{source}:{image.reference}", f"oci:{inside}/theirs-{name}:e", offline=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = _as_ours(room.peers.room / f"theirs-{name}")
    key = DecryptionKey(room.base / f"{name}.pem", {})
    opened = decrypt_image(read_layout(theirs).images[0], key, BlobFolder(tmp_path / "opened"))
    for number in (0, 2):
        assert opened.layers[number].descriptor.digest == image.layers[number].descriptor.digest


def _as_ours(folder: Path) -> Path:
    """A layout of skopeo's with the annotation by which we know images."""
    from tiny_images import edit_json

    def name(index):
        for entry in index["manifests"]:
            entry.setdefault("annotations", {})["kind"] = "dev.cosignproject.cosign/image"

    edit_json(folder / "index.json", name)
    return folder


def test_podman_pulls_and_opens_it(tmp_path):
    """Straight from the release's layout, in a network that reaches nothing."""
    generate_key(tmp_path / "in-country.pem", None)
    generate_key(tmp_path / "stranger.pem", None)
    build = encrypted_targets(tmp_path / "in-country.pub")
    release = make_release(tmp_path / "made", build=build)
    image = release.built[0].image
    source = f"oci:{release.folder / 'images'}:{image.reference}"
    with engine_room("podman", shared=tmp_path) as room:
        refused = room.run(
            "podman", "pull", "--decryption-key", str(tmp_path / "stranger.pem"), source,
            check=False,
        )  # fmt: skip
        assert refused.returncode != 0
        room.run("podman", "pull", "--decryption-key", str(tmp_path / "in-country.pem"), source)
        shown = room.run("podman", "images", "--no-trunc", "--format", "{{.ID}}")
        assert image.config.digest.hex in shown.stdout
