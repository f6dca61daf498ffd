"""cosign 2 and 3 accept what we sign, and refuse what they should. Offline: only a public key.

cosign 2 (Debian 13) looks for the classic forms, cosign 3 (Debian's next suite) for the bundles.
`--insecure-ignore-tlog` says that there is no transparency log: that is what signing with a key for
a site without network means.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engines import docker_registry
from peers import Peers, peers
from small_release import EPOCH, SmallRelease, artifacts_of, build_targets, make_release
from tampering import flip

from packager.attest.cosign import repository_of, signature_artifact, signature_referrer
from packager.attest.keys import generate_key, open_signer
from packager.attest.statement import COMPLIANCE, QUALITY
from packager.attest.verifying import verify
from packager.digest import Digest
from packager.errors import VerificationError
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter
from packager.oci.registry import push

pytestmark = pytest.mark.engine

EMPTY_TRUST = json.dumps(
    {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [],
        "certificateAuthorities": [],
        "ctlogs": [],
        "timestampAuthorities": [],
    }
)
NO_LOG = "--insecure-ignore-tlog=true"


@dataclass(frozen=True)
class Room:
    """The peers with our release, its key and a stranger's key brought in; `program` is asked."""

    program: str
    peers: Peers
    release: SmallRelease
    key: str
    stranger: str
    stranger_file: Path

    def cosign(self, *arguments: str, offline: bool = True):
        return self.peers.run(self.program, *arguments, offline=offline)


@pytest.fixture(scope="module", params=["cosign", "cosign3"])
def room(request, tmp_path_factory):
    base = tmp_path_factory.mktemp("cosign")
    with peers(request.param) as found:
        release = make_release(base)
        stranger = generate_key(base / "stranger.pem", None)
        yield Room(
            request.param,
            found,
            release,
            found.bring(release.public_file, "site.pub"),
            found.bring(stranger.public, "stranger.pub"),
            stranger.private,
        )


def layout_of(room: Room, tmp_path: Path, make=artifacts_of) -> str:
    """A layout with one image and what `make` accompanies it with, in the room."""
    store = LayerStore(tmp_path / "store", EPOCH)
    request, (target, _) = build_targets(store)
    writer = LayoutWriter(tmp_path / "layout", store.blobs)
    writer.add_image(target.image)
    for artifact in make(target, request, room.release.signer):
        writer.add_artifact(artifact)
    writer.close()
    return room.peers.bring(tmp_path / "layout", f"layout-{tmp_path.name}")


# --- images in a layout, without any network


@pytest.mark.parametrize(
    "kind",
    [
        ["verify"],
        ["verify-attestation", "--type", "slsaprovenance1"],
        ["verify-attestation", "--type", "cyclonedx"],
        ["verify-attestation", "--type", "spdxjson"],
        ["verify-attestation", "--type", COMPLIANCE],
        ["verify-attestation", "--type", QUALITY],
    ],
    ids=["signature", "provenance", "bill of materials", "SPDX", "decisions", "quality"],
)
def test_layout_accepted_with_the_key_and_refused_with_another(room, tmp_path, kind):
    layout = layout_of(room, tmp_path)
    accepted = room.cosign(*kind, "--key", room.key, NO_LOG, "--local-image", layout)
    assert accepted.returncode == 0, accepted.stderr
    refused = room.cosign(*kind, "--key", room.stranger, NO_LOG, "--local-image", layout)
    assert refused.returncode != 0
    classic = room.program == "cosign" and kind == ["verify"]
    told = "invalid signature" if classic else "signatures do not match threshold"
    assert told in refused.stderr


def test_the_claim_that_cosign_prints_is_ours(room, tmp_path):
    layout = layout_of(room, tmp_path)
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    image = room.release.built[0].image
    claims = json.loads(done.stdout)
    if room.program == "cosign3":
        assert len(claims) == 6  # of bundles it prints nothing but that there is one
        return
    (claim,) = claims
    assert claim["critical"]["image"]["docker-manifest-digest"] == str(image.manifest.digest)
    assert claim["critical"]["identity"]["docker-reference"] == repository_of(image.reference)


def test_the_bundle_alone_is_a_signature_for_cosign_3(room, tmp_path):
    """Without the classic form, and without any attestation."""
    layout = layout_of(
        room,
        tmp_path,
        lambda built, request, signer: [signature_referrer(built.image, signer)],
    )
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    assert (done.returncode == 0) == (room.program == "cosign3"), done.stderr


def test_unsigned_layout_refused(room, tmp_path):
    """cosign 3 counts any statement of the key about the image as signature: there is none."""
    layout = layout_of(room, tmp_path, lambda *given: [])
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    assert done.returncode != 0


def test_attestations_are_no_signature_for_cosign_2(room, tmp_path):
    layout = layout_of(room, tmp_path, lambda *given: artifacts_of(*given)[1:])
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    assert (done.returncode == 0) == (room.program == "cosign3")


def test_signature_of_another_image_refused(room, tmp_path):
    def foreign(built, request, signer):
        manifest = replace(built.image.manifest, digest=Digest.of(b"elsewhere"))
        image = replace(built.image, manifest=manifest)
        return [
            signature_artifact(image, repository_of(image.reference), signer),
            signature_referrer(image, signer),
        ]

    layout = layout_of(room, tmp_path, foreign)
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    assert done.returncode != 0
    assert "digest" in done.stderr


def test_a_changed_layer_escapes_cosign_and_not_us(room, tmp_path):
    """Why `packager verify` exists: cosign checks the manifest, we check every byte."""
    shutil.copytree(room.release.folder, tmp_path / "release")
    release = replace(room.release, folder=tmp_path / "release")
    flip(release.blob(release.built[0].image.layers[1].descriptor.digest))
    layout = room.peers.bring(release.folder / "images", "changed-layer")
    done = room.cosign("verify", "--key", room.key, NO_LOG, "--local-image", layout)
    assert done.returncode == 0, "cosign has learned to look at layers: tell the documentation"
    with pytest.raises(VerificationError, match="step 6, digests"):
        verify(release.folder, release.public)


# --- the root of a release, without any network


def verify_root(room: Room, key: str, folder: str):
    trust = room.peers.write("trust.json", EMPTY_TRUST)
    return room.cosign(
        "verify-blob", "--key", key, NO_LOG, "--new-bundle-format", "--trusted-root", trust,
        "--bundle", f"{folder}/release.sigstore.json", f"{folder}/release.json",
    )  # fmt: skip


def test_root_accepted_and_other_key_refused(room):
    folder = room.peers.bring(room.release.folder, "whole-release")
    accepted = verify_root(room, room.key, folder)
    assert (accepted.returncode, "Verified OK" in accepted.stderr) == (0, True), accepted.stderr
    assert verify_root(room, room.stranger, folder).returncode != 0


@pytest.mark.parametrize("name", ["release.json", "release.sigstore.json"])
def test_changed_root_or_bundle_refused(room, tmp_path, name):
    shutil.copytree(room.release.folder, tmp_path / "release")
    flip(tmp_path / "release" / name)
    folder = room.peers.bring(tmp_path / "release", f"changed-{name}")
    assert verify_root(room, room.key, folder).returncode != 0


# --- images in a registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def test_registry_accepted_and_refused(room, registry, tmp_path):
    made = make_release(tmp_path, key_file=room.release.key_file, registry=f"{registry}/ml")
    pushed = push(
        made.folder / "images",
        {target.image.reference: target.image.reference for target in made.built},
    )
    by_key = {}
    for key in (room.key, room.stranger):
        for reference in pushed.values():
            for kind in (["verify"], ["verify-attestation", "--type", "slsaprovenance1"]):
                done = room.cosign(
                    *kind, "--key", key, NO_LOG, "--allow-http-registry", reference, offline=False
                )
                by_key.setdefault(key, set()).add(done.returncode)
    assert by_key[room.key] == {0}
    assert 0 not in by_key[room.stranger]


def test_unsigned_in_a_registry_refused(room, registry, tmp_path):
    made = make_release(
        tmp_path,
        key_file=room.release.key_file,
        registry=f"{registry}/unsigned",
        artifacts=lambda *given: [],
    )
    reference = made.built[0].image.reference
    pushed = push(made.folder / "images", {reference: reference})
    done = room.cosign(
        "verify", "--key", room.key, NO_LOG, "--allow-http-registry", pushed[reference],
        offline=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no signatures found" in done.stderr


def test_keys_of_a_stranger_are_strangers(room):
    """The refusals above are worth something: the stranger's key does sign for itself."""
    signer = open_signer(str(room.stranger_file), {})
    assert signer.public_key_pem() != room.release.signer.public_key_pem()
