"""What is claimed about an image in a registry, and by whom: steps 2 and 4.

Under the names where signatures and attestations are looked for, whatever stands must be a trusted
key's: a foreign signature beside ours is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packager.attest.claims import (
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    bundled_statement,
    classic_statement,
    signed_claim,
)
from packager.attest.encryption_statement import attested_layers
from packager.attest.image_signature_check import REQUIRED_PREDICATES
from packager.attest.image_store import (
    ImageStore,
    bounded,
    parse_object,
    read_artifact,
    read_claim,
)
from packager.attest.keys import PublicKey
from packager.attest.layout_index import (
    MAX_JSON,
    ManifestDocument,
    Member,
    descriptors,
    manifest_document,
)
from packager.attest.statement import ENCRYPTION, Statement
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError

MAX_REFERRERS = 256


def check_signatures(
    store: ImageStore, digest: Digest, repository: str, trust: TrustPolicy
) -> tuple[PublicKey, ...]:
    """The trusted keys that signed. Every signature that stands there must be such a key's."""
    tag = f"sha256-{digest.hex}.sig"
    document = read_artifact(store, tag, "the image is not signed")
    found: dict[PublicKey, None] = {}
    for layer in document.layers:
        payload = read_claim(store, layer, MediaType.SIMPLE_SIGNING, MAX_PAYLOAD)
        key, claim = _by_some_key(
            trust,
            layer,
            lambda key: signed_claim(payload, layer.annotations, key),  # noqa: B023
        )
        if claim != (digest, repository):
            raise VerificationError(
                "a signature is about another image, or for another repository",
                where=tag,
                expected=f"{digest} for {repository}",
                got=f"{claim[0]} for {claim[1]}"[:400],
                next_step="in a mirror, name the repository that it was signed for: --repository",
            )
        found[key] = None
    if len(found) < trust.required:
        raise VerificationError(
            f"the image carries {len(found)} of {trust.required} signatures that are required",
            where=tag,
        )
    return tuple(found)


def read_attestations(store: ImageStore, digest: Digest, trust: TrustPolicy) -> list[Statement]:
    """Every attestation where they are looked for, each a trusted key's and about the image."""
    statements = []
    tag = f"sha256-{digest.hex}.att"
    for layer in read_artifact(store, tag, "nothing is attested about the image").layers:
        data = read_claim(store, layer, MediaType.DSSE, MAX_ENVELOPE)
        _, statement = _by_some_key(
            trust,
            layer,
            lambda key: classic_statement(data, layer.annotations, key),  # noqa: B023
        )
        statements.append(statement)
    statements += _referring(store, digest, trust)
    for statement in statements:
        if statement.subject != digest:
            raise VerificationError(
                "an attestation is about another image", where=tag, got=str(statement.subject)
            )
    return statements


def _referring(store: ImageStore, digest: Digest, trust: TrustPolicy) -> Iterator[Statement]:
    """The sigstore bundles that refer to the image; other things may refer to it as well."""
    index = store.referrers(digest, MAX_JSON)
    if index is None:
        return
    where = f"referrers of {digest}"
    entries = parse_object(bounded(index, where), where).get("manifests")
    for entry in descriptors(entries, where)[:MAX_REFERRERS]:
        data = bounded(store.manifest(str(entry.digest), MAX_JSON), str(entry.digest))
        if Digest.of(data) != entry.digest:
            raise VerificationError("the registry gave another manifest", where=str(entry.digest))
        document = manifest_document(parse_object(data, str(entry.digest)), entry)
        if document.artifact_type != MediaType.SIGSTORE_BUNDLE or len(document.layers) != 1:
            continue
        subject = document.subject.digest if document.subject else digest
        bundle = read_claim(store, document.layers[0], MediaType.SIGSTORE_BUNDLE, MAX_ENVELOPE)
        annotations = parse_object(data, str(entry.digest)).get("annotations", {})
        _, statement = _by_some_key(
            trust,
            document.layers[0],
            lambda key: bundled_statement(bundle, annotations, subject, key),  # noqa: B023
        )
        yield statement


def check_complete(
    image: ManifestDocument, config: Mapping[str, Any], statements: Sequence[Statement]
) -> None:
    found = {statement.predicate_type for statement in statements}
    findings = [
        Finding("the image lacks an attestation", str(image.member.digest), kind)
        for kind in REQUIRED_PREDICATES
        if kind not in found
    ]
    expected = {
        str(layer.digest): diff_id
        for layer, diff_id in zip(image.layers, config["rootfs"]["diff_ids"], strict=True)
        if layer in image.encrypted
    }
    told: dict[str, str] = {}
    for statement in statements:
        if statement.predicate_type == ENCRYPTION:
            try:
                told = attested_layers(statement.predicate)
            except ValueError as error:
                findings.append(Finding("the attestation cannot be understood", got=str(error)))
    if told != expected:
        findings.append(
            Finding("no attestation says what comes out of the encrypted layers", None, ENCRYPTION)
        )
    if findings:
        raise VerificationError.of(findings)


def _by_some_key(trust: TrustPolicy, layer: Member, opened: Any) -> tuple[PublicKey, Any]:
    """What a usable key opens; raises VerificationError when none does."""
    why = "every trusted key is revoked"
    for key in trust.usable:
        try:
            return key, opened(key)
        except (ValueError, VerificationError) as error:
            why = str(error)
    raise VerificationError(
        "it is not signed by a key that is trusted, or is none of ours",
        where=str(layer.digest),
        expected=", ".join(key.fingerprint for key in trust.usable) or None,
        got=why,
    )
