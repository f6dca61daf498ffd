"""Configuration and manifest: as the specification says, and the same bytes for ever."""

import json

from tiny_images import SETTINGS, content, tiny_image

from packager.canonical import SourceDateEpoch, dumps
from packager.content import Compression
from packager.domain.artifact import MediaType, Platform
from packager.oci.image import write_image
from packager.oci.layer import LayerStore

# Plain layers only: their bytes depend on no compressor, so this digest holds on every machine.
GOLDEN = "sha256:7055941f00eb711cb43849f661ebd01dfa730bef28094061f24b3b711dbb30e6"


EPOCH = SourceDateEpoch()


def plain_image(store, epoch=EPOCH):
    layers = [
        store.write(content(kind, {f"opt/{kind}": kind.encode()}, Compression.NONE))
        for kind in ("system", "model", "configuration")
    ]
    platform = Platform("linux", "arm64", "v8")
    return write_image(layers, SETTINGS, platform, "localhost/tiny:1", epoch, store.blobs)


def test_golden_digest(store):
    assert str(plain_image(store).manifest.digest) == GOLDEN


def test_another_time_is_another_image(tmp_path):
    epoch = SourceDateEpoch(1_767_225_600)
    image = plain_image(LayerStore(tmp_path, epoch), epoch)
    assert str(image.manifest.digest) != GOLDEN


def test_the_name_is_no_part_of_the_image(store):
    one = tiny_image(store)
    layers, platform = one.layers, one.platform
    other = write_image(layers, SETTINGS, platform, "other/name:2", SourceDateEpoch(), store.blobs)
    assert other.manifest == one.manifest


def test_configuration_and_manifest(store):
    image = plain_image(store)
    manifest_bytes = store.blobs.path(image.manifest.digest).read_bytes()
    config_bytes = store.blobs.path(image.config.digest).read_bytes()
    manifest, config = json.loads(manifest_bytes), json.loads(config_bytes)

    assert dumps(manifest) == manifest_bytes
    assert dumps(config) == config_bytes
    assert manifest["config"] == image.config.as_dict()
    assert [layer["annotations"]["dev.packager.layer"] for layer in manifest["layers"]] == [
        "system",
        "model",
        "configuration",
    ]
    assert manifest["mediaType"] == MediaType.MANIFEST
    assert config["rootfs"] == {
        "type": "layers",
        "diff_ids": [str(layer.diff_id) for layer in image.layers],
    }
    created = "1970-01-01T00:00:00Z"
    assert config["created"] == created
    assert config["history"] == [
        {"created": created, "created_by": f"packager: {kind}"}
        for kind in ("system", "model", "configuration")
    ]
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")
    assert config["config"] == {
        "Entrypoint": ["/probe"],
        "Env": ["A=1", "B=2"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"org.opencontainers.image.title": "tiny"},
        "User": "65532:65532",
        "WorkingDir": "/",
    }
