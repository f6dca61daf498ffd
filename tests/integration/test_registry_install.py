"""An in-country registry in the place of a stick: a release is pushed there and installed from it.

A real registry (docker-registry), oras as a stranger to our tool, an engine of files at the site.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundles import make_bundle
from engines import docker_registry
from peer_engines import engine_room
from site_machine import DASH, StubSite
from site_releases import NAME, site_release
from small_release import SmallRelease

from packager.attest.keys import generate_key
from packager.digest import Digest

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Place:
    """A registry, and the release whose bundle was pushed there."""

    address: str
    storage: Path
    release: SmallRelease
    bundle: Path
    name: str

    def stored(self, digest: Digest) -> Path:
        blobs = self.storage / "data/docker/registry/v2/blobs/sha256"
        return blobs / digest.hex[:2] / digest.hex / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from packager.cli.main import main

    base = tmp_path_factory.mktemp("registry")
    with docker_registry(base / "registry") as address:
        release = site_release(base / "1.0.0", "1.0.0", 1.0, light=True)
        bundle = base / "release.tar"
        make_bundle(release, bundle)
        code = main(["push", str(bundle), f"{address}/ml", "--key", str(release.public_file), "-q"])
        assert code == 0
        yield Place(address, base / "registry", release, bundle, f"{address}/ml/{NAME}:1.0.0")


@pytest.fixture
def site(tmp_path, monkeypatch) -> StubSite:
    made = StubSite(tmp_path / "site", DASH)
    shutil.copy(shutil.which("docker", path=made.surroundings()["PATH"]), made.base / "engine")
    made.tool("docker", f'STUB={made.stub}; export STUB; exec sh {made.base / "engine"} "$@"')
    monkeypatch.setenv("PATH", made.surroundings()["PATH"])
    return made


def install(packager, site, place, *more):
    key = place.release.public_file
    return packager("install", f"oci://{place.name}", "--key", key, "--site", site.site_file, *more)


def test_a_release_is_installed_from_the_registry(packager, site, place):
    dry = install(packager, site, place, "--dry-run")
    assert (dry.code, "would be installed" in dry.out) == (0, True), dry.err
    done = install(packager, site, place)
    assert done.code == 0, done.err
    assert site.status()["serving"] == "1.0.0"
    assert site.status()["slots"][0]["stock"] is True
    assert not list(site.data.glob(".whole-*"))


def test_what_is_pulled_is_the_bundle_byte_for_byte(packager, place, tmp_path):
    out = tmp_path / "pulled.tar"
    done = packager("pull", place.name, "--key", place.release.public_file, "-o", out)
    assert done.code == 0, done.err
    assert out.read_bytes() == place.bundle.read_bytes()


def test_oras_pulls_the_same_files(place, tmp_path):
    out = tmp_path / "pulled"
    out.mkdir()
    with engine_room("oras", shared=tmp_path, network="host") as room:
        room.run("oras", "pull", "--plain-http", "--output", str(out), place.name)
    assert files(out) == files(place.release.folder)


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("part", ["root", "layer", "manifest"])
def test_a_changed_byte_in_the_registrys_storage_is_refused(packager, site, place, part):
    root = place.release.folder / "release.json"
    victims = {
        "root": Digest.of_file(root),
        "layer": place.release.built[0].image.layers[0].descriptor.digest,
        "manifest": Digest.parse(json.loads(root.read_bytes())["files"][0]["digest"]),
    }
    victim = place.stored(victims[part])
    good = victim.read_bytes()
    victim.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    try:
        done = install(packager, site, place)
    finally:
        victim.write_bytes(good)
    assert done.code == 4, done.err
    assert site.containers() == {}
    assert not list(site.data.glob(".whole-*"))


def test_another_makers_key_and_no_release_are_refused(packager, site, place, tmp_path):
    other = generate_key(tmp_path / "other.pem", None)
    key = other.private.with_suffix(".pub")
    words = ("--key", key, "--site", site.site_file)
    assert packager("install", f"oci://{place.name}", *words).code == 4
    image = place.release.built[0].image.reference.rpartition("/")[2]
    done = packager("install", f"oci://{place.address}/ml/{image}", *words)
    assert (done.code, "this is no release" in done.err) == (4, True), done.err
    done = packager("install", f"oci://{place.address}/ml/{NAME}:9.9.9", *words)
    assert (done.code, "no release of this name" in done.err) == (4, True)
    gone = packager("install", "oci://127.0.0.1:1/ml/x:1", *words)
    assert gone.code == 5


def test_a_site_elsewhere_is_refused_before_anything_big_is_fetched(packager, site, place):
    site.profile(jurisdiction="de", region="aws/eu-central-1")
    done = install(packager, site, place)
    assert (done.code, "no target for this site" in done.err) == (3, True), done.err
    assert not list(site.base.rglob("release.tar*"))
