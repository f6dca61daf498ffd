"""Bases from a registry, a layout, an archive: pinned by digest, or refused by name."""

import gzip
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from bases import (
    FILES,
    STATUS,
    archive_of,
    base_registry,
    image_of,
    layout_of,
    saved_by_docker,
    tar_of,
)

from packager import decompression
from packager.assemble.base_contents import clearing_layer, contents_of, wanted
from packager.content import Compression
from packager.declared import base_named
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import InputError, LockError, UnavailableError
from packager.oci import registry_client
from packager.oci.base_image import digest_of, fetch_base, pin_base
from packager.oci.base_tree import read_tree
from packager.progress import SILENT


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PACKAGER_CACHE", str(folder))
    monkeypatch.setattr(registry_client, "_FIRST_PAUSE", 0.0)
    return folder


def named(path: Path, digest: str | None = None):
    return replace(base_named(f"./{path.name}", path.parent, None), digest=digest)


def contents(layers):
    return contents_of(read_tree(layers.layers, wanted), layers.name)


@pytest.mark.parametrize("docker", [False, True])
def test_a_registry_gives_the_platform_that_is_asked_for(docker):
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip" if docker else MediaType.LAYER_GZIP
    image = image_of(architectures=("amd64", "arm64"), docker=docker, layer_type=kind)
    with base_registry(image) as registry:
        base = base_named(f"{registry.name}:1", Path(), None)
        locked = pin_base(base, ["arm64", "amd64"], SILENT)
    assert locked.digest == image.top
    assert locked.name == "org/base:1"
    arm64, amd64 = locked.manifest("arm64"), locked.manifest("amd64")
    assert len({locked.digest, arm64, amd64}) == 3
    layers = fetch_base(locked, base, "arm64", SILENT)  # the registry is gone, the cache is not
    assert layers.manifest == arm64
    (layer,) = layers.layers
    assert layer.descriptor.media_type == MediaType.LAYER_GZIP
    assert layer.blob.read_bytes() == image.blobs[layer.descriptor.digest.hex]
    assert layers.not_taken == ("Entrypoint", "Env.LD_PRELOAD", "User")


def test_a_layout_its_archive_and_a_registry_are_one_base(tmp_path):
    image = image_of()
    folder = layout_of(image, tmp_path / "base")
    archive = archive_of(folder, tmp_path / "base.tar")
    for path in (folder, archive):
        assert pin_base(named(path), ["amd64"], SILENT).digest == image.top
        assert digest_of(named(path, str(image.top))) == image.top


def test_what_docker_saved_has_one_digest_wherever_it_was_saved(tmp_path):
    one = saved_by_docker(FILES, tmp_path / "one.tar")
    locked = pin_base(named(one), ["amd64"], SILENT)
    layers = fetch_base(locked, named(one), "amd64", SILENT)
    assert [layer.descriptor.media_type for layer in layers.layers] == [MediaType.LAYER_TAR] * 2
    assert len({layer.descriptor.digest for layer in layers.layers}) == 1
    two = saved_by_docker(FILES, tmp_path / "two.tar")
    assert pin_base(named(two), ["amd64"], SILENT).digest == locked.digest


def test_a_blob_that_breaks_off_is_taken_up_where_it_stopped():
    image = image_of([{"big": bytes(range(256)) * 400}], layer_type=MediaType.LAYER_TAR)
    with base_registry(image) as registry:
        registry.cut = 30_000
        base = base_named(f"{registry.name}:1", Path(), None)
        locked = pin_base(base, ["amd64"], SILENT)
        starts = [int(line.split()[1]) for line in registry.asked if line.startswith("blobs")]
    assert starts[1:5] == [0, 30_000, 60_000, 90_000]
    assert fetch_base(locked, base, "amd64", SILENT).layers


def test_a_registry_without_ranges_that_breaks_off_is_given_up():
    with base_registry(image_of([{"big": b"x" * 90_000}])) as registry:
        registry.cut, registry.ranges = 10, False
        with pytest.raises(UnavailableError):
            pin_base(base_named(f"{registry.name}:1", Path(), None), ["amd64"], SILENT)


def test_the_piece_of_a_killed_run_is_used_and_a_spoilt_one_is_not(cache):
    image = image_of([{"big": b"x" * 90_000}], layer_type=MediaType.LAYER_TAR)
    manifest = json.loads(image.blobs[image.top.hex])
    name = manifest["layers"][0]["digest"][7:]
    for piece in (image.blobs[name][:50_000], b"spoilt" * 100, b"y" * 900_000):
        partial = cache / "bases" / "sha256" / f"partial-{name}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(piece)
        (partial.parent / name).unlink(missing_ok=True)
        with base_registry(image) as registry:
            base = base_named(f"{registry.name}:1", Path(), None)
            locked = pin_base(base, ["amd64"], SILENT)
        assert fetch_base(locked, base, "amd64", SILENT).layers[0].blob.stat().st_size > 90_000
        assert not partial.exists()


def other_bytes(image):
    digest = json.loads(image.blobs[image.top.hex])["layers"][0]["digest"][7:]
    image.blobs[digest] = image.blobs[digest][:-1] + b"!"


def other_config(image):
    digest = json.loads(image.blobs[image.top.hex])["config"]["digest"][7:]
    image.blobs[digest] = image.blobs[digest].replace(b"amd64", b"arm64")


@pytest.mark.parametrize("harm", [other_bytes, other_config])
def test_other_bytes_are_refused(harm):
    image = image_of()
    harm(image)
    with base_registry(image) as registry, pytest.raises(LockError, match="is not what the base"):
        pin_base(base_named(f"{registry.name}:1", Path(), None), ["amd64"], SILENT)


def test_another_index_than_the_pinned_one_is_refused(tmp_path):
    folder = layout_of(image_of(), tmp_path / "base")
    other = image_of([{"other": b""}])
    (folder / "blobs/sha256" / other.top.hex).write_bytes(b'{"lie": 1}')
    with pytest.raises(LockError, match="not the one that was named by digest"):
        pin_base(named(folder, str(other.top)), ["amd64"], SILENT)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (image_of(architectures=("arm64",)), "another platform"),
        (image_of(architectures=("arm64", "s390x")), "no image for this platform"),
        (image_of(layer_type="application/vnd.oci.image.layer.v1.tar+encrypted"), "of a kind"),
        (image_of(change_config=lambda it: it["rootfs"].pop("diff_ids")), "diff_ids"),
        (
            image_of(change_config=lambda it: it["rootfs"]["diff_ids"].clear()),
            "not as many",
        ),
        (image_of([]), "not as many"),
        (image_of([{}] * 101), "too many"),
    ],
    ids=["other-machine", "index", "encrypted", "no-diff-ids", "fewer", "none", "too-many"],
)
def test_a_base_that_cannot_be_built_on_is_refused(tmp_path, image, told):
    folder = layout_of(image, tmp_path / "base")
    with pytest.raises(LockError) as refused:
        pin_base(named(folder), ["amd64"], SILENT)
    assert told in str(refused.value.findings)


def test_archives_that_are_none(tmp_path):
    compressed = tmp_path / "base.tar.gz"
    compressed.write_bytes(gzip.compress(tar_of(FILES)))
    with pytest.raises(InputError, match="cannot be read") as refused:
        digest_of(named(compressed))
    assert "gunzip" in (refused.value.findings[0].next_step or "")
    twice = tmp_path / "twice.tar"
    with tarfile.open(twice, "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("index.json"))
    with pytest.raises(InputError, match="means two things"):
        digest_of(named(twice))
    empty = tmp_path / "empty.tar"
    empty.write_bytes(tar_of({"x": b""}))
    with pytest.raises(Exception, match=r"missing|not one image"):
        digest_of(named(empty))
    several = layout_of(image_of(), tmp_path / "several")
    index = json.loads((several / "index.json").read_text())
    index["manifests"] *= 2
    (several / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="more images than one") as refused:
        digest_of(named(several))
    assert "@sha256" in (refused.value.findings[0].next_step or "")


def fetched(tmp_path, *layers, **more):
    folder = layout_of(image_of(layers, **more), tmp_path / "base")
    locked = pin_base(named(folder), ["amd64"], SILENT)
    return fetch_base(locked, named(folder), "amd64", SILENT)


def test_what_a_base_tells_and_what_is_hidden(tmp_path):
    found = contents(fetched(tmp_path, FILES))
    assert [(one.kind, one.name, one.version) for one in found.packages] == [
        ("deb", "base-thing", "1.2-3"),
        ("pypi", "spy", "2.0"),
    ]
    assert found.records == ("var/lib/dpkg/status",)
    assert found.complete
    assert found.cleared == (
        "etc/ld.so.preload",
        "usr/lib/python3.13",
        "usr/lib/python3/dist-packages/spy.pth",
    )
    layer = clearing_layer(found, Compression.GZIP)
    assert {entry.path for entry in layer.entries()} == {
        "etc/.wh.ld.so.preload",
        "usr/lib/python3.13/.wh..wh..opq",
        "usr/lib/python3/dist-packages/.wh.spy.pth",
    }


def test_whiteouts_of_a_base_hide_what_is_below(tmp_path):
    upper = {
        "etc/.wh.ld.so.preload": b"",
        "usr/lib/python3/.wh..wh..opq": b"",
        "usr/lib/python3.13": "elsewhere",
        "var/lib/dpkg/status.d/kept": STATUS.split(b"\n\n")[0],
        "var/lib/dpkg/status.d/kept.md5sums": b"x",
        "var/lib/dpkg/.wh.status": b"",
        "var/lib/rpm/rpmdb.sqlite": b"",
    }
    found = contents(fetched(tmp_path, FILES, upper))
    assert [one.name for one in found.packages] == ["base-thing"]
    assert found.cleared == ("usr/lib/python3.13",)
    assert (found.records, found.unread) == (("var/lib/dpkg/status.d",), ("var/lib/rpm",))
    assert not found.complete


def test_an_alpine_base_tells_its_packages(tmp_path):
    files = {"usr/lib/apk/db/installed": b"C:x\nP:musl\nV:1.2-r0\nA:x86_64\n\nP:tz\nV:1\n"}
    found = contents(fetched(tmp_path, files))
    assert [(one.kind, one.name, one.distribution) for one in found.packages] == [
        ("apk", "musl", "alpine"),
        ("apk", "tz", "alpine"),
    ]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"bin/sh": b""}, "has a folder /bin"),
        ({"lib": "somewhere"}, "is no link to /usr/lib"),
        ({"usr/local": "../var/usrlocal"}, "no folder"),
        ({"etc": b"a file"}, "no folder"),
    ],
)
def test_a_base_of_another_layout_is_refused(tmp_path, files, told):
    with pytest.raises(LockError, match=told):
        contents(fetched(tmp_path, files))


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (tar_of({"../up": b""}), "leads out"),
        (tar_of({"/".join("a" * 200): b""}), "too deep"),
        (b"no tar at all" * 100, "cannot be unpacked"),
        (tar_of({"zeros": bytes(2 << 20)}), "unpacks to more than"),
    ],
    ids=["out", "deep", "no-tar", "bomb"],
)
def test_a_hostile_layer_is_refused(tmp_path, monkeypatch, layer, told):
    monkeypatch.setattr(decompression, "PLAIN_FLOOR", 1 << 20)
    with pytest.raises(LockError) as refused:
        contents(fetched(tmp_path, layer))
    assert told in str(refused.value.findings)


def test_a_layer_that_unpacks_to_something_else_is_refused(tmp_path):
    def lie(config):
        config["rootfs"]["diff_ids"] = [str(Digest.of(b"another"))]

    with pytest.raises(LockError, match="unpacks to something else"):
        contents(fetched(tmp_path, FILES, change_config=lie))
