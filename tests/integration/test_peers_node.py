"""npm's verifier of sigstore bundles and CycloneDX's own library agree with us, offline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from engines import missing
from small_release import SmallRelease, make_release
from tampering import SBOM

from packager.attest import root
from packager.attest.keys import generate_key
from packager.oci.layout import read_layout

NPM_ROOT = Path(os.environ.get("PACKAGER_NPM_ROOT", "/var/lib/packager-npm"))
SCRIPTS = Path(__file__).parents[1] / "peers"
pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Node:
    release: SmallRelease
    stranger: Path

    def run(self, script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
        offline = ["unshare", "--net"] if os.geteuid() == 0 else []
        environment = {**os.environ, "NODE_PATH": str(NPM_ROOT / "node_modules")}
        command = [*offline, "node", SCRIPTS / script, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=60
        )


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Node:
    if not shutil.which("node"):
        missing("node is not installed")
    if not (NPM_ROOT / "node_modules/@sigstore/verify").exists():
        missing(f"@sigstore/verify is not in {NPM_ROOT}: run tests/peers/install-npm.sh")
    base = tmp_path_factory.mktemp("node")
    stranger = generate_key(base / "stranger.pem", None)
    return Node(make_release(base), stranger.public)


@pytest.fixture(scope="module")
def bundles(node, tmp_path_factory) -> list[Path]:
    """The signature and the attestations of the first image, each as bundle."""
    folder = tmp_path_factory.mktemp("bundles")
    layout = read_layout(node.release.folder / "images")
    found = []
    for artifact in layout.artifacts_of(layout.images[0]):
        if artifact.tag is None:
            path = folder / f"{artifact.descriptor.digest.hex}.json"
            path.write_bytes(artifact.blobs[1][1])
            found.append(path)
    return found


def test_the_root_s_bundle(node, tmp_path):
    folder, key = node.release.folder, node.release.public_file
    accepted = node.run("sigstore_verify.cjs", folder / root.BUNDLE, key, folder / root.ROOT)
    assert accepted.stdout == "verified\n", accepted.stderr
    for other in (
        (folder / root.BUNDLE, node.stranger, folder / root.ROOT),
        (folder / root.BUNDLE, key, folder / root.CHECKSUMS),
    ):
        refused = node.run("sigstore_verify.cjs", *other)
        assert refused.returncode != 0
        assert "verified" not in refused.stdout


def test_the_bundles_of_an_image(node, bundles):
    assert len(bundles) == 6
    for bundle in bundles:
        accepted = node.run("sigstore_verify.cjs", bundle, node.release.public_file)
        assert accepted.stdout == "verified\n", accepted.stderr
    assert node.run("sigstore_verify.cjs", bundles[0], node.stranger).returncode != 0


def test_a_changed_attestation_is_refused(node, bundles, tmp_path):
    document = json.loads(bundles[0].read_bytes())
    payload = document["dsseEnvelope"]["payload"]
    document["dsseEnvelope"]["payload"] = (
        payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]
    )
    (tmp_path / "changed.json").write_text(json.dumps(document))
    assert node.run(
        "sigstore_verify.cjs", tmp_path / "changed.json", node.release.public_file
    ).returncode


def test_the_bill_of_materials_is_valid_for_cyclonedx_s_own_library(node, tmp_path):
    path = node.release.folder / SBOM
    accepted = node.run("cyclonedx_validate.cjs", path)
    assert accepted.stdout == "valid\n", accepted.stderr
    bom = json.loads(path.read_bytes())
    bom["components"][0]["modelCard"]["bogus"] = 1
    (tmp_path / "bogus.json").write_text(json.dumps(bom))
    assert node.run("cyclonedx_validate.cjs", tmp_path / "bogus.json").returncode != 0
