"""The layout: written the same whatever the order, read back whole, and nothing in it believed."""

import json
import os

import pytest
from tiny_images import REFERENCE, edit_json, layout, referrer, signature, tiny_image

from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError
from packager.oci.layout import LayoutWriter, read_layout

OTHER = "registry.example.sa/ml/tiny:1.0.0-sa"


@pytest.fixture
def images(store):
    return tiny_image(store), tiny_image(store, OTHER)


@pytest.fixture
def folder(tmp_path, store, images):
    artifacts = [make(image) for image in images for make in (signature, referrer)]
    return layout(tmp_path / "images", store, *images, artifacts=artifacts)


def blob(folder, digest: Digest):
    return folder / "blobs" / "sha256" / digest.hex


def replace_bytes(path, data: bytes):
    path.unlink()
    path.write_bytes(data)


def test_reads_back_what_was_written(folder, images):
    found = read_layout(folder)
    assert [image.reference for image in found.images] == [REFERENCE, OTHER]
    for image, written in zip(found.images, images, strict=True):
        assert (image.manifest, image.config) == (written.manifest, written.config)
        assert image.platform == written.platform
        for layer, known in zip(image.layers, written.layers, strict=True):
            assert (layer.kind, layer.descriptor, layer.diff_id, layer.created_by) == (
                known.kind,
                known.descriptor,
                known.diff_id,
                known.created_by,
            )
            assert layer.blob.read_bytes() == known.blob.read_bytes()
        signed, referred = found.artifacts_of(image)
        assert {signed.tag, referred.tag} == {f"sha256-{image.manifest.digest.hex}.sig", None}
        for artifact in (signed, referred):
            assert artifact.subject == image.manifest.digest
            assert all(Digest.of(data) == digest for digest, data in artifact.blobs)
        assert found.image(image.reference) == found.image_of(image.manifest.digest) == image


def test_bytes_do_not_depend_on_the_order_of_adding(tmp_path, store, images, folder):
    artifacts = [make(image) for image in images for make in (referrer, signature)]
    other = layout(tmp_path / "other", store, *reversed(images), artifacts=reversed(artifacts))
    for name in ("index.json", "manifest.json", "oci-layout"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_the_first_signature_belongs_to_the_first_image(folder):
    """cosign --local-image takes the first image and the first signature that it meets."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    kinds = [entry.get("annotations", {}).get("kind", "") for entry in entries]
    first_signature = entries[kinds.index("dev.cosignproject.cosign/sigs")]
    assert kinds[0] == "dev.cosignproject.cosign/image"
    assert first_signature["annotations"]["dev.packager.tag"] == (
        entries[0]["digest"].replace(":", "-") + ".sig"
    )


def test_only_images_carry_a_reference_name(folder):
    """containerd makes an image of every member that does, and fails to unpack a signature."""
    for entry in json.loads((folder / "index.json").read_bytes())["manifests"]:
        annotations = entry.get("annotations", {})
        named = "org.opencontainers.image.ref.name" in annotations
        assert named == (annotations.get("kind") == "dev.cosignproject.cosign/image")


def test_names_for_the_tools(folder):
    first = json.loads((folder / "index.json").read_bytes())["manifests"][0]
    assert first["annotations"]["io.containerd.image.name"] == REFERENCE
    assert first["annotations"]["org.opencontainers.image.ref.name"] == REFERENCE
    assert first["platform"] == {"os": "linux", "architecture": "amd64"}
    docker = json.loads((folder / "manifest.json").read_bytes())
    assert [entry["RepoTags"] for entry in docker] == [[REFERENCE], [OTHER]]
    for entry in docker:
        assert all((folder / path).is_file() for path in [entry["Config"], *entry["Layers"]])


def test_shared_blobs_stand_there_once(store, images, folder):
    shared = {layer.descriptor.digest for layer in images[0].layers}
    shared &= {layer.descriptor.digest for layer in images[1].layers}
    assert len(shared) == 2
    expected = {path.name for path in (folder / "blobs" / "sha256").iterdir()}
    named = {each.hex for image in images for each in (image.manifest.digest, image.config.digest)}
    named |= {layer.descriptor.digest.hex for image in images for layer in image.layers}
    for artifact in read_layout(folder).artifacts:
        named |= {artifact.descriptor.digest.hex, *(digest.hex for digest, _ in artifact.blobs)}
    assert expected == named


def test_modes_are_ours_and_the_store_keeps_its_own(tmp_path, store, images):
    odd = images[0].layers[0].blob
    odd.chmod(0o600)
    before = os.umask(0o077)
    try:
        folder = layout(tmp_path / "strict", store, *images)
    finally:
        os.umask(before)
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert odd.stat().st_mode & 0o777 == 0o600


def test_two_images_of_one_name_are_refused(tmp_path, store, images):
    writer = LayoutWriter(tmp_path / "images", store.blobs)
    writer.add_image(images[0])
    with pytest.raises(ValueError, match="two images"):
        writer.add_image(images[0])


def test_an_artifact_of_other_bytes_is_refused(tmp_path, store, images):
    from dataclasses import replace

    writer = LayoutWriter(tmp_path / "images", store.blobs)
    with pytest.raises(ValueError, match="bytes"):
        writer.add_artifact(replace(signature(images[0]), manifest=b"{}"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replace_bytes(path, bytes(data))


@pytest.mark.parametrize("part", ["manifest", "config", "layer", "signature", "signature blob"])
@pytest.mark.parametrize("damage", ["flipped", "longer", "missing", "a link"])
def test_a_blob_that_is_not_its_name_is_refused(folder, images, tmp_path, part, damage):
    image = images[0]
    digest = {
        "manifest": image.manifest.digest,
        "config": image.config.digest,
        "layer": image.layers[1].descriptor.digest,
        "signature": signature(image).descriptor.digest,
        "signature blob": signature(image).blobs[1][0],
    }[part]
    path = blob(folder, digest)
    match damage:
        case "flipped":
            flip(path)
        case "longer":
            replace_bytes(path, path.read_bytes() + b"\0")
        case "missing":
            path.unlink()
        case "a link":
            path.rename(tmp_path / "moved")
            path.symlink_to(tmp_path / "moved")
    with pytest.raises(VerificationError) as refused:
        read_layout(folder)
    assert digest.hex in str(refused.value.findings[0].where)


def test_all_damaged_layers_are_told_at_once(folder, images):
    damaged = {image.layers[2].descriptor.digest.hex for image in images}
    for name in damaged:
        flip(folder / "blobs" / "sha256" / name)
    with pytest.raises(VerificationError) as refused:
        read_layout(folder)
    assert {finding.where.rpartition("/")[2] for finding in refused.value.findings} == damaged


def test_layers_may_be_left_to_whoever_hashes_them_next(folder, images):
    path = blob(folder, images[0].layers[1].descriptor.digest)
    flip(path)
    assert read_layout(folder, check_layers=False).images
    replace_bytes(path, b"short")
    with pytest.raises(VerificationError, match="size"):
        read_layout(folder, check_layers=False)


ENTRY = {"mediaType": MediaType.MANIFEST, "digest": "sha256:" + "0" * 64, "size": 2}
HOSTILE_INDEXES = {
    "a list": b"[]",
    "no manifests": b"{}",
    "manifests an object": b'{"manifests":{}}',
    "an entry of text": b'{"manifests":["x"]}',
    "nested too deep": b'{"manifests":' + b"[" * 200_000,
    "a key twice": b'{"manifests":[],"manifests":[]}',
    "not a number": b'{"manifests":[],"x":NaN}',
    "not UTF-8": b'{"manifests":"\xff"}',
    "too large": b'{"manifests":[],"x":"' + b"a" * (4 << 20) + b'"}',
    "path for a digest": json.dumps({"manifests": [ENTRY | {"digest": "sha256:../../x"}]}).encode(),
    "sha512": json.dumps({"manifests": [ENTRY | {"digest": "sha512:" + "0" * 128}]}).encode(),
    "negative size": json.dumps({"manifests": [ENTRY | {"size": -1}]}).encode(),
    "size true": json.dumps({"manifests": [ENTRY | {"size": True}]}).encode(),
    "huge size": json.dumps({"manifests": [ENTRY | {"size": 10**30}]}).encode(),
    "annotation 1": json.dumps({"manifests": [ENTRY | {"annotations": {"a": 1}}]}).encode(),
    "an index within": json.dumps({"manifests": [ENTRY | {"mediaType": MediaType.INDEX}]}).encode(),
    "no such blob": json.dumps({"manifests": [ENTRY]}).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_INDEXES)
def test_a_hostile_index_is_refused(folder, name):
    replace_bytes(folder / "index.json", HOSTILE_INDEXES[name])
    with pytest.raises(VerificationError):
        read_layout(folder)


def test_twins_and_nameless_images_are_refused(folder):
    names = "org.opencontainers.image.ref.name"

    def twin(index):
        index["manifests"][1]["annotations"][names] = REFERENCE

    edit_json(folder / "index.json", twin)
    with pytest.raises(VerificationError, match="name of their own"):
        read_layout(folder)
    edit_json(folder / "index.json", lambda index: index["manifests"][1]["annotations"].pop(names))
    with pytest.raises(VerificationError, match="name of their own"):
        read_layout(folder)


def test_manifest_and_configuration_of_different_images_are_refused(tmp_path, store, images):
    """Digests that are right one by one are not enough: the numbers of layers must agree."""
    image = images[0]
    manifest = json.loads(store.blobs.path(image.manifest.digest).read_bytes())
    manifest["layers"].pop()
    data = json.dumps(manifest).encode()
    digest = store.blobs.put(data)
    folder = layout(tmp_path / "mixed", store, image)
    (folder / "blobs" / "sha256" / digest.hex).write_bytes(data)
    edit_json(
        folder / "index.json",
        lambda index: index["manifests"][0].update(digest=str(digest), size=len(data)),
    )
    with pytest.raises(VerificationError, match="do not belong together"):
        read_layout(folder)


def test_a_folder_that_is_no_layout(tmp_path):
    with pytest.raises(VerificationError, match="no OCI image layout"):
        read_layout(tmp_path)
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(VerificationError, match="unknown version"):
        read_layout(tmp_path)


def test_what_is_not_there_is_named(folder):
    with pytest.raises(VerificationError) as refused:
        read_layout(folder).image("registry.example.de/ml/other:1")
    assert refused.value.findings[0].expected == "registry.example.de/ml/other:1"
    with pytest.raises(VerificationError):
        read_layout(folder).image_of(Digest("0" * 64))
