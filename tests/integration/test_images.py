"""Whole images from real packages: built without a network, run on arm64, read by a scanner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from bases import FILES as BASE_FILES
from bases import STATUS, archive_of, image_of, layout_of
from engines import missing
from tiny_models import classifier, classifier_answer

from packager.domain.artifact import Image
from packager.oci.image_archive import image_entries, tar_chunks
from packager.oci.layout_reading import Layout, read_layout

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("images")]
_HARDWARE = {"amd64": "x86-64-v3", "arm64": "arm64-v8"}
_PORT = 18473
ALONE = ("unshare", "--net", "--map-root-user")


@dataclass(frozen=True)
class Built:
    """Releases of one small model, one for each architecture, and what they were built with."""

    folder: Path
    locks: dict[str, Path]

    def release(self, architecture: str) -> Path:
        return self.folder / architecture

    def layout(self, architecture: str) -> tuple[Layout, Image]:
        layout = read_layout(self.release(architecture) / "images")
        return layout, layout.images[0]


def build(
    folder: Path,
    architecture: str,
    output: Path,
    *prefix: str,
    more: tuple[object, ...] = (),
    code: int = 0,
) -> str:
    command = [
        *(*prefix, sys.executable, "-m", "packager", "build", *described(folder, architecture)),
        *("--key", folder / "site.pem", "-o", output, *more),
    ]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def lock(folder: Path, architecture: str, *more: object) -> None:
    command = [sys.executable, "-m", "packager", "lock", *described(folder, architecture), *more]
    subprocess.run([str(part) for part in command], capture_output=True, check=True, timeout=600)


def described(folder: Path, architecture: str) -> list[object]:
    return [
        *(folder / "model.onnx", "-j", "de", "-w", _HARDWARE[architecture], "-p", "compose"),
        *("--region", "aws/eu-central-1", "--license", "MIT", "--lock", folder / "packager.lock"),
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    folder = tmp_path_factory.mktemp("images")
    (folder / "model.onnx").write_bytes(classifier())
    keys = [sys.executable, "-m", "packager", "keys", "generate", "-o", folder / "site.pem"]
    subprocess.run(keys, check=True, capture_output=True)
    locks = {}
    for architecture in _HARDWARE:
        build(folder, architecture, folder / architecture)
        locks[architecture] = folder / f"{architecture}.lock"
        (folder / "packager.lock").rename(locks[architecture])
    return Built(folder, locks)


def manifests(release: Path) -> list[str]:
    layout = read_layout(release / "images")
    return [str(image.manifest.digest) for image in layout.images]


@pytest.mark.engine
def test_with_a_filled_cache_a_build_needs_no_network(built, tmp_path):
    """`unshare --net` leaves not even a loopback that is up."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        missing("unshare may not make a network namespace here")
    shutil.copyfile(built.locks["amd64"], built.folder / "packager.lock")
    build(built.folder, "amd64", tmp_path / "again", *ALONE)
    assert manifests(tmp_path / "again") == manifests(built.release("amd64"))


@pytest.mark.engine
def test_a_scanner_lists_the_packages_of_our_own_bill(built, tmp_path):
    layout, image = built.layout("amd64")
    found, ours = scanned(layout, image, tmp_path), listed(built.release("amd64"))
    assert len(ours) > 15
    assert found == ours


@pytest.mark.engine
def test_an_image_on_a_base_is_the_bases_below_and_ours_above(built, tmp_path):
    """From an archive and from a layout alike; a scanner and Docker find what the bill says."""
    # A package of which the settings alone are left is none to us, and one to syft.
    upper = {"var/lib/dpkg/status": STATUS.split(b"\n\n")[0] + b"\n"}
    base = layout_of(image_of([BASE_FILES, upper]), tmp_path / "house")
    shutil.copyfile(built.locks["amd64"], built.folder / "packager.lock")
    lock(built.folder, "amd64", "--base", base)
    build(built.folder, "amd64", tmp_path / "out", more=("--base", base))
    again = archive_of(base, tmp_path / "again" / "house")
    build(built.folder, "amd64", tmp_path / "same", *ALONE, more=("--base", again))
    assert manifests(tmp_path / "same") == manifests(tmp_path / "out")
    layout = read_layout(tmp_path / "out" / "images")
    (image,) = layout.images
    kinds = [layer.kind for layer in image.layers]
    assert kinds[:4] == ["base-1", "base-2", "base-cleared", "system"]
    below = json.loads((base / "blobs/sha256" / image_of_layout(base)).read_bytes())["layers"]
    assert [str(one.descriptor.digest) for one in image.layers[:2]] == [
        one["digest"] for one in below
    ]
    found, ours = scanned(layout, image, tmp_path), listed(tmp_path / "out")
    assert ("deb", "base-thing", "1.2-3") in ours
    assert found == ours
    record = json.loads((tmp_path / "out/evidence/images/de-x86-64-v3-compose.json").read_text())
    assert "etc/ld.so.preload" in record["base"]["hidden"]
    assert record["base"]["settings_not_taken"] == ["Entrypoint", "Env.LD_PRELOAD", "User"]


def test_another_base_than_the_locked_one_is_refused(built, tmp_path):
    base = layout_of(image_of(), tmp_path / "house")
    shutil.copyfile(built.locks["amd64"], built.folder / "packager.lock")
    told = build(built.folder, "amd64", tmp_path / "out", more=("--base", base), code=1)
    assert "does not pin this base" in told
    assert "packager lock" in told


def image_of_layout(folder: Path) -> str:
    return json.loads((folder / "index.json").read_text())["manifests"][0]["digest"][7:]


Packages = set[tuple[str, str, str]]


def listed(release: Path) -> Packages:
    """Kind, name and version of what our own bill of materials names."""
    (bill,) = (release / "evidence" / "sbom").glob("*.cdx.json")
    return {
        (one["purl"].split(":")[1].split("/")[0], one["name"], one["version"])
        for one in json.loads(bill.read_bytes())["components"]
        if one.get("purl", "").startswith(("pkg:deb/", "pkg:pypi/"))
    }


def scanned(layout: Layout, image: Image, tmp_path: Path) -> Packages:
    syft = shutil.which("syft") or shutil.which("syft", path=str(Path(sys.executable).parent))
    if syft is None:
        missing("syft is not installed")
    archive = tmp_path / "image.tar"
    with archive.open("wb") as stream:
        for chunk in tar_chunks(image_entries(layout, image)):
            stream.write(chunk)
    done = subprocess.run(
        [syft, f"oci-archive:{archive}", "-o", "json", "-q"],
        capture_output=True,
        check=True,
        timeout=300,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
    )
    return {
        (one["type"].replace("python", "pypi"), one["name"], one["version"])
        for one in json.loads(done.stdout)["artifacts"]
        if one["type"] in ("deb", "python")
    }


@pytest.mark.engine
def test_the_arm64_image_answers_an_inference_under_emulation(built, tmp_path):
    emulator = shutil.which("qemu-aarch64-static")
    if emulator is None or os.geteuid() != 0:
        missing("qemu-aarch64-static is not installed, or this user may not change the root")
    _, image = built.layout("arm64")
    root = tmp_path / "root"
    for layer in image.layers:
        with tarfile.open(layer.blob) as archive:
            archive.extractall(root, filter="tar")
    shutil.copyfile(emulator, root / "emulator")
    (root / "emulator").chmod(0o755)
    log = tmp_path / "server.log"
    with log.open("wb") as stream:
        server = start(root, stream)
    try:
        assert answer("/v2/models/model", server, log)["platform"]
        told = answer("/v2/models/model/infer", server, log, {"inputs": [request_for(image)]})
        (scores,) = (one["data"] for one in told["outputs"] if one["name"] == "scores")
        expected = classifier_answer(np.zeros((1, 4), dtype=np.float32))[0]
        np.testing.assert_allclose(scores, expected.ravel(), rtol=1e-5)
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def start(root: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The image's own entry point under the emulator, on a port of this machine."""
    return subprocess.Popen(
        [
            *("chroot", str(root), "/emulator", "/usr/bin/python3.13", "-I", "-m"),
            *("packager_runtime", "--config", "/opt/packager/server.json"),
            *("--host", "127.0.0.1", "--port", str(_PORT)),
        ],
        env={
            "PATH": os.environ["PATH"],
            "ORT_DISABLE_TELEMETRY": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def request_for(image: Image) -> dict[str, object]:
    """An input of zeros, in the shape that the image's own configuration names."""
    layer = next(layer for layer in image.layers if layer.kind == "configuration")
    with tarfile.open(layer.blob) as archive:
        source = archive.extractfile("opt/packager/server.json")
        assert source is not None
        (tensor,) = json.loads(source.read())["models"][0]["inputs"]
    shape = [1 if size < 0 else size for size in tensor["shape"]]
    count = 1
    for size in shape:
        count *= size
    return {
        "name": tensor["name"],
        "datatype": tensor["datatype"],
        "shape": shape,
        "data": [0.0] * count,
    }


def answer(
    path: str, server: subprocess.Popen[bytes], log: Path, body: object = None
) -> dict[str, object]:
    """Ask until the server answers; importing under emulation takes long. 300 s at most."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{_PORT}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            with opener.open(request, timeout=60) as told:
                return json.loads(told.read())
        except OSError:
            time.sleep(1)
    raise AssertionError("no answer within 300 s")
