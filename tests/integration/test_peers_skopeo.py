"""skopeo of Debian 13 under a policy that demands our signature: the site's engine says no itself.

The same library decides in podman and CRI-O. What a policy must say is in `policy`; without the
entry in registries.d the signature would never be looked up, and every image be refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from engines import docker_registry
from peers import Peers, peers
from small_release import SmallRelease, artifacts_of, make_release

from packager.attest.cosign import repository_of, signature_artifact
from packager.attest.keys import generate_key, open_signer
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.oci.registry import push

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Site:
    """A registry, and a site with skopeo whose policy knows one key."""

    peers: Peers
    registry: str
    key_file: Path
    base: Path

    def pushed(self, name: str, make=artifacts_of, key_file: Path | None = None) -> SmallRelease:
        """A release whose images are in the registry's folder `name`."""
        (self.base / name).mkdir()
        release = make_release(
            self.base / name,
            key_file=key_file or self.key_file,
            registry=f"{self.registry}/{name}",
            artifacts=make,
        )
        push(
            release.folder / "images",
            {target.image.reference: target.image.reference for target in release.built},
        )
        return release

    def pull(self, release: SmallRelease):
        """What the site does with the first image of a release."""
        reference = release.built[0].pinned_reference
        name = release.folder.parent.name
        room = self.peers.inside(self.peers.room)
        return self.peers.run(
            "skopeo", "--policy", f"{room}/policy.json", "--registries.d", f"{room}/registries.d",
            "copy", "--src-tls-verify=false", f"docker://{reference}", f"dir:{room}/{name}",
        )  # fmt: skip


def policy(registry: str, key: str) -> str:
    demand = {
        "type": "sigstoreSigned",
        "keyPath": key,
        "signedIdentity": {"type": "matchRepository"},
    }
    return json.dumps(
        {"default": [{"type": "reject"}], "transports": {"docker": {registry: [demand]}}}
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    base = tmp_path_factory.mktemp("skopeo")
    pair = generate_key(base / "site.pem", None)
    with peers("skopeo") as found, docker_registry(base / "registry") as address:
        found.write("policy.json", policy(address, found.bring(pair.public, "site.pub")))
        found.write(
            "registries.d/site.yaml",
            f"docker:\n  {address}:\n    use-sigstore-attachments: true\n",
        )
        yield Site(found, address, pair.private, base)


def test_signed_image_accepted(site):
    release = site.pushed("signed")
    done = site.pull(release)
    assert done.returncode == 0, done.stderr
    copied = site.peers.room / "signed" / "manifest.json"
    assert Digest.of(copied.read_bytes()) == release.built[0].image.manifest.digest


def test_unsigned_image_refused(site):
    done = site.pull(site.pushed("unsigned", lambda *given: artifacts_of(*given)[1:]))
    assert done.returncode != 0
    assert "no signature exists" in done.stderr


def test_image_of_another_key_refused(site):
    thief = generate_key(site.base / "thief.pem", None)
    done = site.pull(site.pushed("thief", key_file=thief.private))
    assert done.returncode != 0
    assert "invalid signature" in done.stderr


def test_signature_of_another_image_refused(site):
    """A valid signature of ours, moved to an image that it was not made for."""
    release = site.pushed("moved")
    to, source = (target.image.manifest.digest.hex for target in release.built)
    manifests = f"http://{repository_of(release.built[0].image.reference)}/manifests"
    manifests = manifests.replace(site.registry, f"{site.registry}/v2")
    signature = requests.get(
        f"{manifests}/sha256-{source}.sig", headers={"Accept": MediaType.MANIFEST}, timeout=10
    )
    put = requests.put(
        f"{manifests}/sha256-{to}.sig",
        data=signature.content,
        headers={"Content-Type": MediaType.MANIFEST},
        timeout=10,
    )
    assert put.status_code == 201
    done = site.pull(release)
    assert done.returncode != 0
    assert "does not match" in done.stderr


def test_signature_for_another_repository_refused(site):
    def elsewhere(built, request, signer):
        return [signature_artifact(built.image, f"{site.registry}/other/repository", signer)]

    done = site.pull(site.pushed("elsewhere", elsewhere))
    assert done.returncode != 0
    assert "is not accepted" in done.stderr


def test_registry_outside_the_policy_refused(site):
    done = site.peers.run(
        "skopeo", "--policy", site.peers.inside(site.peers.room / "policy.json"), "inspect",
        "docker://registry.invalid/x",
    )  # fmt: skip
    assert done.returncode != 0


def test_the_key_of_the_policy_is_the_one_that_signed(site):
    assert (
        open_signer(str(site.key_file), {}).public_key_pem()
        == (site.peers.room / "site.pub").read_bytes()
    )
