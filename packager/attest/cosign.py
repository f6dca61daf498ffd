"""Signatures and attestations of images, as OCI manifests that stock tools find.

Two forms of each, because the tools differ: classic cosign (`sha256-<hex>.sig` and `.att` tags:
cosign 2 and 3, skopeo, podman, CRI-O) and the sigstore bundle as OCI referrer (cosign 3, oras). In
a layout, cosign finds the classic ones by the annotation `kind`. All of them name the image by the
digest of its manifest, so they are made after the image, and after encrypting it if it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packager.attest import base64_text, dsse, sigstore
from packager.attest.keys import Signer
from packager.attest.statement import COSIGN_SIGN, Statement
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, Image, MediaType, Platform

KIND = "kind"
SIGNATURES = "dev.cosignproject.cosign/sigs"
ATTESTATIONS = "dev.cosignproject.cosign/atts"
SIGNATURE_ANNOTATION = "dev.cosignproject.cosign/signature"
PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"
CONTENT_ANNOTATION = "dev.sigstore.bundle.content"
SIMPLE_SIGNING_TYPE = "cosign container image signature"
REF_NAME = "org.opencontainers.image.ref.name"
# Runtimes pick members of an index by platform; these are for none.
NO_PLATFORM = Platform("unknown", "unknown")
_EMPTY_CONFIG = b"{}"
_Blob = tuple[Descriptor, bytes]


def repository_of(reference: str) -> str:
    """`registry/name` of `registry/name:tag` or `registry/name@sha256:…`; a port is no tag."""
    repository = reference.partition("@")[0]
    head, colon, tag = repository.rpartition(":")
    return head if colon and "/" not in tag else repository


def simple_signing_payload(manifest: Digest, repository: str) -> bytes:
    """The signed claim (containers/image, "simple signing"): this digest, in this repository."""
    return dumps(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": str(manifest)},
                "type": SIMPLE_SIGNING_TYPE,
            },
            "optional": None,
        }
    )


def signature_artifact(image: Image, repository: str, signer: Signer) -> Artifact:
    """The classic signature of `image` for `repository` (`registry/name`, without a tag).

    skopeo and podman refuse it in any other repository; cosign does not look at the repository.
    """
    return manifest_signature(image.manifest.digest, repository, signer)


def manifest_signature(manifest: Digest, repository: str, signer: Signer) -> Artifact:
    """The same for whatever a manifest stands for, such as a chart."""
    payload = simple_signing_payload(manifest, repository)
    signature = base64_text.encode(signer.sign(payload))
    layer = _blob(MediaType.SIMPLE_SIGNING, payload, {SIGNATURE_ANNOTATION: signature})
    return _classic(manifest, [layer], SIGNATURES, "sig")


def signature_referrer(image: Image, signer: Signer) -> Artifact:
    """The signature as sigstore bundle, with the empty predicate that cosign 3 writes itself."""
    return manifest_referrer(image.manifest, repository_of(image.reference), signer)


def manifest_referrer(manifest: Descriptor, repository: str, signer: Signer) -> Artifact:
    """The same for whatever a manifest stands for, such as a chart."""
    statement = Statement(repository, manifest.digest, COSIGN_SIGN, {})
    return _referrer(manifest, statement, signer)


def attestation_artifact(
    image: Image, predicates: Mapping[str, Mapping[str, Any]], signer: Signer
) -> Artifact:
    """Classic attestations: one DSSE envelope for each predicate, `predicates` by predicate type.

    All of an image's attestations go into one manifest: there is one `.att` tag.
    """
    layers = [
        _blob(
            MediaType.DSSE,
            dumps(dsse.sign_envelope(_statement(image, kind, predicates[kind]), signer)),
            {SIGNATURE_ANNOTATION: "", "predicateType": kind},
        )
        for kind in sorted(predicates)
    ]
    return _classic(image.manifest.digest, layers, ATTESTATIONS, "att")


def bundle_referrer(
    image: Image, predicate_type: str, predicate: Mapping[str, Any], signer: Signer
) -> Artifact:
    """One attestation as sigstore bundle v0.3 that refers to the image (OCI 1.1 `subject`)."""
    name = repository_of(image.reference)
    statement = Statement(name, image.manifest.digest, predicate_type, predicate)
    return _referrer(image.manifest, statement, signer)


def _referrer(subject: Descriptor, statement: Statement, signer: Signer) -> Artifact:
    bundle = sigstore.dsse_bundle(statement.to_bytes(), signer)
    layer = _blob(MediaType.SIGSTORE_BUNDLE, bundle, {})
    config = _blob(MediaType.EMPTY, _EMPTY_CONFIG, {})
    annotations = {
        CONTENT_ANNOTATION: "dsse-envelope",
        PREDICATE_ANNOTATION: statement.predicate_type,
    }
    manifest = dumps(
        _manifest(config, [layer])
        | {
            "artifactType": MediaType.SIGSTORE_BUNDLE,
            "subject": _bare(subject).as_dict(),
            "annotations": annotations,
        }
    )
    descriptor = Descriptor(
        MediaType.MANIFEST,
        Digest.of(manifest),
        len(manifest),
        annotations,
        NO_PLATFORM,
        MediaType.SIGSTORE_BUNDLE,
    )
    return _artifact(descriptor, manifest, [config, layer], None, subject.digest)


def _statement(image: Image, kind: str, predicate: Mapping[str, Any]) -> bytes:
    name = repository_of(image.reference)
    return Statement(name, image.manifest.digest, kind, predicate).to_bytes()


def _classic(subject: Digest, layers: Sequence[_Blob], kind: str, suffix: str) -> Artifact:
    config = _blob(MediaType.CONFIG, dumps(_configuration(layers)), {})
    manifest = dumps(_manifest(config, layers))
    tag = f"sha256-{subject.hex}.{suffix}"
    descriptor = Descriptor(
        MediaType.MANIFEST,
        Digest.of(manifest),
        len(manifest),
        {KIND: kind, REF_NAME: tag},
        NO_PLATFORM,
    )
    return _artifact(descriptor, manifest, [config, *layers], tag, subject)


def _artifact(
    descriptor: Descriptor,
    manifest: bytes,
    blobs: Sequence[_Blob],
    tag: str | None,
    subject: Digest,
) -> Artifact:
    stored = tuple((blob.digest, data) for blob, data in blobs)
    return Artifact(descriptor, manifest, stored, tag, subject)


def _blob(media_type: str, data: bytes, annotations: Mapping[str, str]) -> _Blob:
    return Descriptor(media_type, Digest.of(data), len(data), annotations), data


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)


def _manifest(config: _Blob, layers: Sequence[_Blob]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MediaType.MANIFEST,
        "config": config[0].as_dict(),
        "layers": [layer.as_dict() for layer, _ in layers],
    }


def _configuration(layers: Sequence[_Blob]) -> dict[str, Any]:
    """The placeholder that cosign writes: an image configuration without an image."""
    nothing = "0001-01-01T00:00:00Z"
    return {
        "architecture": "",
        "config": {},
        "created": nothing,
        "history": [{"created": nothing} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer, _ in layers]},
    }
