"""Signature and attestation manifests: the forms that research has seen stock tools accept."""

from __future__ import annotations

import json

import pytest
from small_release import EPOCH, artifacts_of, build_targets

from packager.attest import base64_text, cosign
from packager.attest.cosign import NO_PLATFORM, repository_of
from packager.attest.keys import generate_key, open_signer, read_public_key
from packager.attest.statement import COMPLIANCE, CYCLONEDX, QUALITY, SLSA_PROVENANCE, SPDX
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.oci.layer import LayerStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("cosign")
    pair = generate_key(base / "site.pem", None)
    request, (target, _) = build_targets(LayerStore(base / "store", EPOCH))
    artifacts = artifacts_of(target, request, open_signer(str(pair.private), {}))
    return target.image, artifacts, read_public_key(pair.public)


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("registry.example.de/ml/filetype:1.0", "registry.example.de/ml/filetype"),
        ("127.0.0.1:5000/app:signed", "127.0.0.1:5000/app"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("localhost/filetype:1@sha256:" + "0" * 64, "localhost/filetype"),
    ],
)
def test_a_port_is_no_tag(reference, repository):
    assert repository_of(reference) == repository


def test_every_blob_of_every_artifact_is_there(made):
    image, artifacts, _ = made
    for artifact in artifacts:
        manifest = json.loads(artifact.manifest)
        assert Digest.of(artifact.manifest) == artifact.descriptor.digest
        assert len(artifact.manifest) == artifact.descriptor.size
        named = {entry["digest"] for entry in (manifest["config"], *manifest["layers"])}
        assert named == {str(digest) for digest, _ in artifact.blobs}
        assert all(Digest.of(data) == digest for digest, data in artifact.blobs)
        assert artifact.subject == image.manifest.digest
        assert artifact.descriptor.platform == NO_PLATFORM


def test_the_classic_signature(made):
    image, (signature, *_), key = made
    manifest = json.loads(signature.manifest)
    (layer,) = manifest["layers"]
    payload = dict(signature.blobs)[Digest.parse(layer["digest"])]
    assert layer["mediaType"] == MediaType.SIMPLE_SIGNING
    key.verify(base64_text.decode(layer["annotations"][cosign.SIGNATURE_ANNOTATION]), payload)
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": "registry.example.de/ml/filetype"},
            "image": {"docker-manifest-digest": str(image.manifest.digest)},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    assert signature.tag == f"sha256-{image.manifest.digest.hex}.sig"
    assert signature.descriptor.annotations["kind"] == "dev.cosignproject.cosign/sigs"


def test_the_classic_attestations_share_one_manifest(made):
    image, (_, attestation, *_), _ = made
    layers = json.loads(attestation.manifest)["layers"]
    assert {layer["annotations"]["predicateType"] for layer in layers} == {
        COMPLIANCE,
        CYCLONEDX,
        QUALITY,
        SLSA_PROVENANCE,
        SPDX,
    }
    assert attestation.tag == f"sha256-{image.manifest.digest.hex}.att"
    assert attestation.descriptor.annotations["kind"] == "dev.cosignproject.cosign/atts"


def test_the_referrers_name_the_image_as_subject(made):
    image, (_, _, *referrers), _ = made
    for referrer in referrers:
        manifest = json.loads(referrer.manifest)
        assert manifest["subject"] == {
            "mediaType": MediaType.MANIFEST,
            "digest": str(image.manifest.digest),
            "size": image.manifest.size,
        }
        assert manifest["artifactType"] == MediaType.SIGSTORE_BUNDLE
        assert manifest["config"]["mediaType"] == MediaType.EMPTY
        assert referrer.descriptor.artifact_type == MediaType.SIGSTORE_BUNDLE
        assert referrer.tag is None
