"""Signatures and attestations of the images in the layout: steps 9 and 10.

The root's signature covers all bytes already. These steps check what a registry, a cluster or
podman will rely on later, when the root is no longer with the image: that each image carries its
own signature and its own evidence, by the same key, about exactly this image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packager.attest import cosign
from packager.attest.claims import (
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    Claim,
    bundled_statement,
    classic_statement,
    signed_claim,
)
from packager.attest.encryption_statement import attested_layers
from packager.attest.layout_index import (
    INDEX,
    ManifestDocument,
    Member,
    read_json,
    read_manifests,
    read_member,
)
from packager.attest.signed_release import SignedRelease
from packager.attest.statement import (
    COMPLIANCE,
    COSIGN_SIGN,
    CYCLONEDX,
    ENCRYPTION,
    QUALITY,
    SLSA_PROVENANCE,
    SPDX,
    Statement,
)
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError

REQUIRED_PREDICATES = (SLSA_PROVENANCE, CYCLONEDX, SPDX, COMPLIANCE, QUALITY)


def check_image_signatures(release: SignedRelease) -> dict[str, int]:
    """Step 9, image signatures: each image, chart and index is signed for its repository, in the
    classic form and as a bundle, and every signature in the layout is the key's and about one of
    these."""
    claims: set[Claim] = set()
    findings: list[Finding] = []
    for document in _of_kind(release, cosign.SIGNATURES):
        for layer in document.layers:
            try:
                claims.add(_signed_claim(release, layer))
            except (ValueError, VerificationError) as error:
                findings.append(_refused("the image signature", layer, error))
    bundled: set[Digest] = set()
    for document in _referrers(release, signatures=True):
        try:
            bundled.add(_referring_statement(release, document).subject)
        except (ValueError, VerificationError) as error:
            findings.append(_refused("the image signature", document.member, error))
    needed = {(image.manifest, image.repository): image.target for image in release.root.images}
    charts = {
        (image.chart.manifest, image.chart.repository): image.target
        for image in release.root.images
        if image.chart
    }
    indexes = {
        (index.manifest, index.repository): index.reference for index in release.root.indexes
    }
    others = {digest for digest, _ in (*charts, *indexes)}
    about = {digest for digest, _ in claims} | bundled
    findings += _unmatched(release, about - others, "a signature")
    findings += [
        Finding(f"the {what} is not signed", target, f"a signature of {digest} for {repository}")
        for what, things in (("image", needed), ("chart", charts), ("index", indexes))
        for (digest, repository), target in sorted(things.items())
        if (digest, repository) not in claims
    ]
    findings += [
        Finding(f"the {what} has no signature in the form of a bundle", target, str(digest))
        for what, things in (("image", needed), ("chart", charts), ("index", indexes))
        for (digest, _), target in sorted(things.items())
        if digest not in bundled
    ]
    if findings:
        raise VerificationError.of(findings)
    return {"signatures": len(claims) + len(bundled)}


def check_attestations(release: SignedRelease) -> dict[str, int]:
    """Step 10, attestations: each image has its provenance, its bill of materials in both forms,
    the decisions of the policy, and the record of its quality; and every
    attestation in the layout is the key's and about an image of this release."""
    statements: list[Statement] = []
    findings: list[Finding] = []
    for layer in _layers(_of_kind(release, cosign.ATTESTATIONS)):
        try:
            statements.append(_classic_statement(release, layer))
        except (ValueError, VerificationError) as error:
            findings.append(_refused("the attestation", layer, error))
    for document in _referrers(release, signatures=False):
        try:
            statements.append(_referring_statement(release, document))
        except (ValueError, VerificationError) as error:
            findings.append(_refused("the attestation", document.member, error))
    found = {(statement.subject, statement.predicate_type) for statement in statements}
    findings += _unmatched(release, {digest for digest, _ in found}, "an attestation")
    findings += [
        Finding("the image lacks an attestation", image.target, kind)
        for image in release.root.images
        for kind in REQUIRED_PREDICATES
        if (image.manifest, kind) not in found
    ]
    findings += _unattested_encryption(release, statements)
    if findings:
        raise VerificationError.of(findings)
    return {"attestations": len(statements)}


def _unattested_encryption(
    release: SignedRelease, statements: Iterable[Statement]
) -> Iterator[Finding]:
    """Encrypted layers of which no attestation says what comes out of them."""
    attested: dict[Digest, dict[str, str]] = {}
    for statement in statements:
        if statement.predicate_type == ENCRYPTION:
            try:
                attested[statement.subject] = attested_layers(statement.predicate)
            except ValueError as error:
                yield Finding("the attestation cannot be understood", ENCRYPTION, got=str(error))
    targets = {image.manifest: image.target for image in release.root.images}
    for document in read_manifests(release):
        if document.member.digest not in targets or not document.encrypted:
            continue
        diff_ids = read_json(release, document.config.path)["rootfs"]["diff_ids"]
        expected = {
            str(layer.digest): diff_id
            for layer, diff_id in zip(document.layers, diff_ids, strict=True)
            if layer in document.encrypted
        }
        if attested.get(document.member.digest) != expected:
            yield Finding(
                "no attestation says what comes out of the encrypted layers",
                targets[document.member.digest],
                ENCRYPTION,
            )


def _of_kind(release: SignedRelease, kind: str) -> list[ManifestDocument]:
    return [
        document
        for document in read_manifests(release)
        if document.member.annotations.get(cosign.KIND) == kind
    ]


def _referrers(release: SignedRelease, *, signatures: bool) -> list[ManifestDocument]:
    """Bundles that sign an image, or those that attest something about it, as they call themselves:
    what is in them must be that."""
    return [
        document
        for document in read_manifests(release)
        if document.subject and signatures == (_kind_of_bundle(document) == COSIGN_SIGN)
    ]


def _kind_of_bundle(document: ManifestDocument) -> str | None:
    return document.member.annotations.get(cosign.PREDICATE_ANNOTATION)


def _layers(documents: Iterable[ManifestDocument]) -> list[Member]:
    return [layer for document in documents for layer in document.layers]


def _signed_claim(release: SignedRelease, layer: Member) -> Claim:
    """Digest and repository that a simple-signing payload names, once its signature verified."""
    if layer.media_type != MediaType.SIMPLE_SIGNING:
        raise ValueError(f"not of type {MediaType.SIMPLE_SIGNING}")
    payload = read_member(release, layer, MAX_PAYLOAD)
    return signed_claim(payload, layer.annotations, release.key)


def _classic_statement(release: SignedRelease, layer: Member) -> Statement:
    if layer.media_type != MediaType.DSSE:
        raise ValueError(f"not of type {MediaType.DSSE}")
    data = read_member(release, layer, MAX_ENVELOPE)
    return classic_statement(data, layer.annotations, release.key)


def _referring_statement(release: SignedRelease, document: ManifestDocument) -> Statement:
    if document.artifact_type != MediaType.SIGSTORE_BUNDLE or len(document.layers) != 1:
        raise ValueError("not exactly one sigstore bundle")
    if document.subject is None:
        raise ValueError("it refers to no image")
    bundle = read_member(release, document.layers[0], MAX_ENVELOPE)
    return bundled_statement(
        bundle, document.member.annotations, document.subject.digest, release.key
    )


def _unmatched(release: SignedRelease, found: set[Digest], what: str) -> list[Finding]:
    images = {image.manifest for image in release.root.images}
    return [
        Finding(f"{what} is about an image that is not in this release", INDEX, got=str(digest))
        for digest in sorted(found - images)
    ]


def _refused(what: str, member: Member, error: Exception) -> Finding:
    return Finding(f"{what} does not verify", member.path, got=str(error))
