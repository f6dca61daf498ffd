"""Encrypted layers: who opens them, who does not, and that nothing half-right comes out."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from small_release import EPOCH
from tiny_images import layout, tiny_image

from packager.domain.artifact import MediaType
from packager.errors import InputError, VerificationError
from packager.oci.blobs import BlobFolder
from packager.oci.decryption import DecryptionKey, decrypt_image
from packager.oci.encryption import (
    KEYS_ANNOTATION,
    OPTIONS_ANNOTATION,
    encrypt_image,
    is_encrypted,
    plain_manifest,
    read_recipient,
)
from packager.oci.layer import LayerStore
from packager.oci.layout_reading import read_layout

WEIGHTS = bytes(range(256)) * 9000  # more than one piece


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """rsa, p256, p384 and a stranger, each .pem and .pub."""
    folder = tmp_path_factory.mktemp("recipients")
    for name, options in {
        "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "stranger": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ed25519": ["ED25519"],
        "weak": ["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    }.items():
        openssl("genpkey", "-algorithm", *options, "-out", str(folder / f"{name}.pem"))
        public = ["-pubout", "-out", str(folder / f"{name}.pub")]
        openssl("pkey", "-in", str(folder / f"{name}.pem"), *public)
    return folder


@pytest.fixture
def store(tmp_path) -> LayerStore:
    return LayerStore(tmp_path / "store", EPOCH)


def encrypted_for(store, keys, *names):
    image = tiny_image(store, model=WEIGHTS)
    recipients = [read_recipient(keys / f"{name}.pub") for name in names]
    return image, encrypt_image(image, recipients, store.blobs)


@pytest.mark.parametrize(
    ("recipients", "key"),
    [
        (("rsa",), "rsa"),
        (("p256",), "p256"),
        (("p384",), "p384"),
        (("rsa", "p256"), "rsa"),
        (("rsa", "p256"), "p256"),
    ],
)
def test_each_recipient_opens_it(store, keys, tmp_path, recipients, key):
    image, hidden = encrypted_for(store, keys, *recipients)
    assert is_encrypted(hidden)
    assert not is_encrypted(image)
    blobs = BlobFolder(tmp_path / "plain")
    opened = decrypt_image(hidden, DecryptionKey(keys / f"{key}.pem", {}), blobs)
    assert opened.manifest == image.manifest
    assert opened.config == image.config
    assert opened.layers[1].blob.read_bytes() == image.layers[1].blob.read_bytes()
    assert plain_manifest(hidden) == blobs.path(image.manifest.digest).read_bytes()


def test_only_the_model_is_hidden_and_nothing_of_it_shows(store, keys):
    image, hidden = encrypted_for(store, keys, "rsa")
    kinds = {layer.kind: layer.descriptor.media_type for layer in hidden.layers}
    assert kinds["model"] == MediaType.LAYER_TAR_ENCRYPTED
    assert [layer for layer in hidden.layers if layer.kind != "model"] == [
        layer for layer in image.layers if layer.kind != "model"
    ]
    data = hidden.layers[1].blob.read_bytes()
    assert len(data) == image.layers[1].descriptor.size
    assert WEIGHTS[:64] not in data
    assert b"model.onnx" not in data
    again = encrypt_image(image, [read_recipient(keys / "rsa.pub")], store.blobs)
    assert again.layers[1].descriptor.digest != hidden.layers[1].descriptor.digest


def test_nobody_else_opens_it(store, keys, tmp_path):
    _, hidden = encrypted_for(store, keys, "rsa", "p256")
    with pytest.raises(VerificationError, match="not encrypted for this key"):
        decrypt_image(hidden, DecryptionKey(keys / "stranger.pem", {}), BlobFolder(tmp_path / "x"))


@pytest.mark.parametrize("position", [0, 1_500_000, -1])
def test_a_flipped_bit_is_refused_and_nothing_is_stored(store, keys, tmp_path, position):
    _, hidden = encrypted_for(store, keys, "p256")
    data = bytearray(hidden.layers[1].blob.read_bytes())
    data[position] ^= 1
    (tmp_path / "changed").write_bytes(data)
    layers = list(hidden.layers)
    layers[1] = replace(layers[1], blob=tmp_path / "changed")
    blobs = BlobFolder(tmp_path / "plain")
    with pytest.raises(VerificationError, match="not what was encrypted"):
        decrypt_image(
            replace(hidden, layers=tuple(layers)), DecryptionKey(keys / "p256.pem", {}), blobs
        )
    assert list((tmp_path / "plain/sha256").iterdir()) == []


@pytest.mark.parametrize(
    "annotations",
    [
        {KEYS_ANNOTATION: ""},
        {KEYS_ANNOTATION: "!!"},
        {KEYS_ANNOTATION: "e30="},
        {KEYS_ANNOTATION: ",".join(["e30="] * 65)},
        {OPTIONS_ANNOTATION: ""},
        {OPTIONS_ANNOTATION: "e30="},
        {OPTIONS_ANNOTATION: "W10="},
    ],
    ids=str,
)
def test_annotations_that_say_nothing_are_refused(store, keys, tmp_path, annotations):
    _, hidden = encrypted_for(store, keys, "p256")
    layers = list(hidden.layers)
    changed = {**layers[1].descriptor.annotations, **annotations}
    layers[1] = replace(layers[1], descriptor=replace(layers[1].descriptor, annotations=changed))
    with pytest.raises(VerificationError):
        decrypt_image(
            replace(hidden, layers=tuple(layers)),
            DecryptionKey(keys / "p256.pem", {}),
            BlobFolder(tmp_path / "plain"),
        )


def test_a_layer_that_is_not_what_the_configuration_names_is_refused(store, keys, tmp_path):
    """Validly encrypted for us, by somebody else: other weights in the place of the signed ones."""
    _, hidden = encrypted_for(store, keys, "p256")
    other = tiny_image(store, reference="localhost/other:1", model=b"other weights")
    foreign = encrypt_image(other, [read_recipient(keys / "p256.pub")], store.blobs)
    layers = list(hidden.layers)
    layers[1] = replace(foreign.layers[1], diff_id=layers[1].diff_id)
    with pytest.raises(VerificationError, match="not what was encrypted"):
        decrypt_image(
            replace(hidden, layers=tuple(layers)),
            DecryptionKey(keys / "p256.pem", {}),
            BlobFolder(tmp_path / "plain"),
        )


def test_docker_is_not_told_of_images_that_it_cannot_open(store, keys, tmp_path):
    image, hidden = encrypted_for(store, keys, "rsa")
    other = tiny_image(store, reference="localhost/other:1")
    layout(tmp_path / "layout", store, hidden, other)
    listed = (tmp_path / "layout/manifest.json").read_text()
    assert "localhost/other:1" in listed
    assert image.reference not in listed
    assert read_layout(tmp_path / "layout").image(image.reference).manifest == hidden.manifest


@pytest.mark.parametrize("name", ["ed25519.pub", "weak.pub", "rsa.pem", "missing"])
def test_keys_that_cannot_receive(keys, name):
    with pytest.raises(InputError):
        read_recipient(keys / name)


@pytest.mark.parametrize("name", ["ed25519.pem", "rsa.pub", "missing"])
def test_keys_that_cannot_open(keys, name):
    with pytest.raises(InputError):
        DecryptionKey(keys / name, {})


def test_a_key_with_a_password(keys, store, tmp_path):
    path = tmp_path / "locked.pem"
    secret = ["-aes256", "-passout", "pass:open sesame"]
    openssl("pkey", "-in", str(keys / "p256.pem"), *secret, "-out", str(path))
    _, hidden = encrypted_for(store, keys, "p256")
    key = DecryptionKey(path, {"PACKAGER_KEY_PASSWORD": "open sesame"})
    assert not is_encrypted(decrypt_image(hidden, key, BlobFolder(tmp_path / "plain")))
    with pytest.raises(InputError):
        DecryptionKey(path, {"PACKAGER_KEY_PASSWORD": "wrong"})
