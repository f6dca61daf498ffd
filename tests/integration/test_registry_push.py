"""A real registry takes our images and signatures, and stock tools take them from there."""

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
import requests
from engines import DEBIAN_13, docker_engine, docker_registry, missing, static_program, tool
from tiny_images import REFERENCE, layout, referrer, signature, tiny_image

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import UnavailableError
from packager.oci import chunked_upload, registry_client
from packager.oci.layer import LayerStore
from packager.oci.registry import push

pytestmark = pytest.mark.engine

OTHER = "registry.example.sa/ml/tiny:1.0.0-sa"
USER, PASSWORD = "packager", "open sesame"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
SOURCE = Path(__file__).parent.parent / "support" / "probe.c"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    program = static_program(SOURCE, folder / "probe")
    store = LayerStore(folder / "store", SourceDateEpoch())
    weights = os.urandom(3 << 20)  # larger than one piece of an upload
    made = [tiny_image(store, name, model=weights, program=program) for name in (REFERENCE, OTHER)]
    artifacts = [make(image) for image in made for make in (signature, referrer)]
    return made, layout(folder / "layout", store, *made, artifacts=artifacts)


@pytest.fixture(scope="module")
def pushed(registry, images):
    made, folder = images
    destinations = {
        image.reference: f"{registry}/ml/{name}:1"
        for image, name in zip(made, ("one", "two"), strict=True)
    }
    return push(folder, destinations)


def get(registry, path, accept=MediaType.MANIFEST):
    return requests.get(f"http://{registry}/v2/{path}", headers={"Accept": accept}, timeout=10)


def test_everything_is_where_it_belongs(registry, images, pushed):
    made, _ = images
    for image, name in zip(made, ("one", "two"), strict=True):
        digest = image.manifest.digest
        assert pushed[image.reference] == f"{registry}/ml/{name}@{digest}"
        for reference in ("1", str(digest)):
            found = get(registry, f"ml/{name}/manifests/{reference}")
            assert found.headers["Content-Type"] == MediaType.MANIFEST
            assert Digest.of(found.content) == digest
        for layer in image.layers:
            blob = get(registry, f"ml/{name}/blobs/{layer.descriptor.digest}").content
            assert Digest.of(blob) == layer.descriptor.digest
        signed = get(registry, f"ml/{name}/manifests/sha256-{digest.hex}.sig")
        assert signed.content == signature(image).manifest
        index = get(registry, f"ml/{name}/manifests/sha256-{digest.hex}", MediaType.INDEX).json()
        (entry,) = index["manifests"]
        assert entry["digest"] == str(referrer(image).descriptor.digest)
        assert entry["artifactType"] == MediaType.SIGSTORE_BUNDLE
        assert entry["annotations"] == {"dev.sigstore.bundle.content": "dsse-envelope"}


def test_referrers_of_others_stay(registry, images, pushed, tmp_path):
    made, folder = images
    store = LayerStore(tmp_path / "store", SourceDateEpoch())
    for layer in made[0].layers:
        store.blobs.put(layer.blob.read_bytes())
    for descriptor in (made[0].config, made[0].manifest):
        blob = folder / "blobs" / "sha256" / descriptor.digest.hex
        store.blobs.put(blob.read_bytes())
    other = referrer(made[0], "evidence of somebody else")
    again = layout(tmp_path / "layout", store, made[0], artifacts=[other, referrer(made[0])])
    push(again, {REFERENCE: f"{registry}/ml/one:1"})
    tag = f"sha256-{made[0].manifest.digest.hex}"
    index = get(registry, f"ml/one/manifests/{tag}", MediaType.INDEX).json()
    digests = [entry["digest"] for entry in index["manifests"]]
    assert sorted(digests) == sorted(
        str(artifact.descriptor.digest) for artifact in (other, referrer(made[0]))
    )


def test_a_second_push_sends_no_blob(registry, images, pushed, monkeypatch):
    from packager.oci.registry_client import Repository

    _, folder = images

    def refuse(*_):
        raise AssertionError("a blob was sent again")

    monkeypatch.setattr(Repository, "_upload", refuse)
    destinations = {REFERENCE: f"{registry}/ml/one:1"}
    assert push(folder, destinations) == {REFERENCE: pushed[REFERENCE]}


def test_shared_layers_are_mounted_from_the_first_repository(images, tmp_path, monkeypatch):
    """Of two images in one registry only the layers that differ go over the wire twice."""
    from packager.oci import registry_client

    sent = []
    pieces = registry_client._Body.__iter__

    def counting(body):
        for data in pieces(body):
            sent.append(len(data))
            yield data

    monkeypatch.setattr(registry_client._Body, "__iter__", counting)
    made, folder = images
    with docker_registry(tmp_path / "registry") as address:
        push(
            folder,
            {image.reference: f"{address}/ml/{n}:1" for n, image in zip("ab", made, strict=True)},
        )
    once = {each.descriptor.digest: each.descriptor.size for i in made for each in i.layers}
    assert sum(sent) == sum(once.values()) + sum(image.config.size for image in made)


def test_skopeo_takes_it(registry, images, pushed):
    made, _ = images
    skopeo = tool("skopeo")
    seen = subprocess.run(
        [*skopeo, "inspect", "--tls-verify=false", f"docker://{registry}/ml/one:1"],
        capture_output=True,
        check=True,
    ).stdout
    inspected = json.loads(seen)
    assert inspected["Digest"] == str(made[0].manifest.digest)
    assert inspected["Layers"] == [str(layer.descriptor.digest) for layer in made[0].layers]
    root = DEBIAN_13 if skopeo[0] == "chroot" else Path("/")
    with tempfile.TemporaryDirectory(dir=root / "tmp") as folder:
        inside = f"/{Path(folder).relative_to(root)}"
        # Without --preserve-digests skopeo compresses plain layers, which makes another image.
        subprocess.run(
            [
                *(*skopeo, "--insecure-policy", "copy", "--preserve-digests"),
                *("--src-tls-verify=false", f"docker://{registry}/ml/one:1"),
                f"oci:{inside}/copy:one",
            ],
            capture_output=True,
            check=True,
        )
        index = json.loads((Path(folder) / "copy/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == str(made[0].manifest.digest)


def test_skopeo_takes_every_image_from_the_layout(images):
    made, folder = images
    skopeo = tool("skopeo")
    root = DEBIAN_13 if skopeo[0] == "chroot" else Path("/")
    with tempfile.TemporaryDirectory(dir=root / "tmp") as seen:
        inside = f"/{Path(seen).relative_to(root)}"
        subprocess.run(["cp", "-r", folder, f"{seen}/layout"], check=True)
        for image in made:
            told = subprocess.run(
                [*skopeo, "inspect", f"oci:{inside}/layout:{image.reference}"],
                capture_output=True,
                check=True,
            ).stdout
            assert json.loads(told)["Digest"] == str(image.manifest.digest)


def test_docker_pulls_it_by_digest(images, pushed):
    made, _ = images
    docker_engine().close()
    name = pushed[REFERENCE]
    pulled = subprocess.run(["docker", "pull", name], capture_output=True, text=True, check=False)
    if pulled.returncode and "https" in pulled.stderr.lower():
        missing("this engine does not pull from loopback without TLS")
    assert pulled.returncode == 0, pulled.stderr
    try:
        found = subprocess.run(
            ["docker", "image", "inspect", "-f", "{{.Id}}", name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        assert found == str(made[0].config.digest)
    finally:
        subprocess.run(["docker", "image", "rm", name], capture_output=True, check=True)


@pytest.fixture
def locked(tmp_path):
    """A registry that asks for a password, and the folder of Docker's configuration."""
    passwords = tmp_path / "htpasswd"
    passwords.write_text(HTPASSWD)
    with docker_registry(tmp_path / "locked", passwords) as address:
        yield address


def logged_in(folder: Path, address: str, password: str) -> None:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))


def test_with_a_password(locked, images, tmp_path, monkeypatch):
    made, folder = images
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    destinations = {REFERENCE: f"{locked}/ml/one:1"}
    with pytest.raises(UnavailableError) as nobody:
        push(folder, destinations)
    logged_in(tmp_path / "docker", locked, "wrong word")
    with pytest.raises(UnavailableError) as refused:
        push(folder, destinations)
    for error in (nobody, refused):
        (finding,) = error.value.findings
        assert "401" in finding.got
        assert finding.where.startswith(locked)
        assert "wrong word" not in str(finding.as_dict())
    (tmp_path / "docker" / "config.json").unlink()
    (tmp_path / "docker").rmdir()
    logged_in(tmp_path / "docker", locked, PASSWORD)
    assert push(folder, destinations) == {REFERENCE: f"{locked}/ml/one@{made[0].manifest.digest}"}


def test_large_blobs_go_up_in_pieces(tmp_path, images, monkeypatch):
    sizes = []
    exchange = registry_client.Repository._exchange

    def counted(self, step, method, url, expected, **options):
        if method == "PATCH":
            sizes.append(len(options["data"]))
        return exchange(self, step, method, url, expected, **options)

    monkeypatch.setattr(registry_client, "PIECE", 1 << 20)
    monkeypatch.setattr(chunked_upload, "PIECE", 1 << 20)
    monkeypatch.setattr(registry_client.Repository, "_exchange", counted)
    made, folder = images
    ours = made[0]
    with docker_registry(tmp_path / "registry") as address:
        push(folder, {ours.reference: f"{address}/ml/tiny:1"})
        for layer in ours.layers:
            stored = requests.get(
                f"http://{address}/v2/ml/tiny/blobs/{layer.descriptor.digest}", timeout=10
            )
            assert Digest.of(stored.content) == layer.descriptor.digest
    assert len(sizes) > 1
    assert max(sizes) == 1 << 20
