"""One name for two architectures, as stock tools see it in a registry and in a layout."""

import json
import subprocess

import pytest
from bundles import trusting
from engines import docker_engine, docker_registry
from peers import peers
from small_release import architectures, make_release

from packager import pipeline
from packager.attest.keys import generate_key
from packager.progress import SILENT

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    base = tmp_path_factory.mktemp("index")
    with docker_registry(base / "registry") as registry:
        release = make_release(
            base, registry=f"{registry}/ml", build=architectures("x86-64-v3", "arm64-v8")
        )
        named = pipeline.push(release.folder, trusting(release), None, False, SILENT)
        (index,) = json.loads((release.folder / "release.json").read_bytes())["indexes"]
        assert named[index["reference"]] == index["pinned"]
        yield release, index


def test_skopeo_and_oras_see_both_and_take_the_one_that_fits(pushed):
    _, index = pushed
    with peers("skopeo", "oras") as found:
        name = f"docker://{index['reference']}"
        raw = found.run("skopeo", "inspect", "--tls-verify=false", "--raw", name)
        entries = json.loads(raw.stdout)["manifests"]
        assert {one["platform"]["architecture"] for one in entries} == {"amd64", "arm64"}
        for architecture in ("amd64", "arm64"):
            one = found.run(
                "skopeo", "inspect", "--tls-verify=false", f"--override-arch={architecture}", name
            )
            assert json.loads(one.stdout)["Architecture"] == architecture
        told = found.run(
            "oras", "manifest", "fetch", "--plain-http", "--descriptor", index["reference"]
        )
        assert json.loads(told.stdout)["digest"] == index["digest"], told.stderr


def test_skopeo_takes_it_out_of_the_layout(pushed):
    release, index = pushed
    with peers("skopeo") as found:
        layout = found.bring(release.folder / "images", "layout")
        raw = found.run("skopeo", "inspect", "--raw", f"oci:{layout}:{index['reference']}")
        assert len(json.loads(raw.stdout)["manifests"]) == 2, raw.stderr
        copied = found.run(
            "skopeo", "copy", "--all", f"oci:{layout}:{index['reference']}", "oci:/tmp/copied:1"
        )
        assert copied.returncode == 0, copied.stderr
        found.run("rm", "-rf", "/tmp/copied")


@pytest.mark.parametrize("program", ["cosign", "cosign3"])
def test_cosign_accepts_the_index_with_the_key_and_refuses_another(pushed, program, tmp_path):
    release, index = pushed
    with peers(program) as found:
        ours = found.bring(release.public_file, "site.pub")
        other = found.bring(generate_key(tmp_path / "other.pem", None).public, "other.pub")
        for key, accepted in ((ours, True), (other, False)):
            done = found.run(
                *(program, "verify", "--key", key, "--insecure-ignore-tlog=true"),
                *("--allow-http-registry", index["pinned"]),
            )
            assert (done.returncode == 0) == accepted, done.stderr


def test_docker_pulls_the_one_of_its_machine(pushed):
    _, index = pushed
    docker_engine()
    pulled = subprocess.run(
        ["docker", "pull", "-q", index["reference"]], capture_output=True, text=True, check=False
    )
    assert pulled.returncode == 0, pulled.stderr
    try:
        told = subprocess.run(
            ["docker", "image", "inspect", "-f", "{{.Architecture}}", index["reference"]],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == "amd64"
    finally:
        subprocess.run(["docker", "rmi", index["reference"]], capture_output=True, check=False)
