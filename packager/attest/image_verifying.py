"""Verifies one image in a registry against keys that the caller trusts. The steps, in order:

  1. manifest      what the name stands for is one image manifest, with the digest asked for
  2. signature     as many trusted keys as required signed this digest for this repository
  3. document      manifest and configuration are of the known shape and belong together
  4. attestations  all evidence is there, signed by a trusted key, about this image
  5. standing      nothing is revoked, no key was rotated away, it is not older than accepted
  6. layers        every layer has the size and SHA-256 of its descriptor and unpacks as promised

Before step 2, three small documents are read, each within a bound. A registry may hold more than we
put there, but not under the names where signatures and attestations are looked for: whatever stands
there must be a trusted key's. Layers are read once, in constant memory, and stored nowhere.

A registry knows no release: closed world, checksums and manifests are checked for a folder or a
bundle. Which images belong to a release is signed in release.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, cast

from packager.attest.bounded_json import load_object
from packager.attest.claims import (
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    bundled_statement,
    classic_statement,
    signed_claim,
)
from packager.attest.encryption_statement import attested_layers
from packager.attest.hashing import workers
from packager.attest.image_signature_check import REQUIRED_PREDICATES
from packager.attest.keys import PublicKey
from packager.attest.layout_check import check_paired
from packager.attest.layout_index import (
    MAX_JSON,
    ManifestDocument,
    Member,
    descriptors,
    manifest_document,
)
from packager.attest.statement import ENCRYPTION, SLSA_PROVENANCE, Statement
from packager.attest.step_runner import StepRunner, VerifiedStep
from packager.attest.trust import TrustPolicy
from packager.attest.unpacking import plain_digest
from packager.decompression import DAMAGE
from packager.digest import CHUNK, Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError
from packager.progress import SILENT, Progress

NEXT_STEP = "do not use this image; push it again from a release that verifies"
STEPS = 6
MAX_SIGNATURES = 64
MAX_REFERRERS = 256


class ImageStore(Protocol):
    """One repository of a registry, believed by nobody. All methods raise UnavailableError."""

    @property
    def location(self) -> str:
        """`registry.example.de/ml/filetype`"""

    def manifest(self, name: str, limit: int) -> bytes | None:
        """The manifest under a tag or digest; one byte more than `limit` when it is longer; None
        when there is none."""

    def blob(self, digest: Digest) -> AbstractContextManager[BinaryIO]:
        """A blob's bytes as the registry sends them. May be called from several threads."""

    def referrers(self, digest: Digest, limit: int) -> bytes | None:
        """The image index of what refers to `digest`; None when the registry knows of nothing."""


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What was checked, in which order. There is a report only when all passed.

    `subject` is `registry/repository@sha256:…`; `counter` is what its provenance says, None when it
    says nothing.
    """

    subject: str
    name: str
    version: str
    counter: int | None
    keys: tuple[str, ...]
    steps: tuple[VerifiedStep, ...]

    def as_dict(self) -> dict[str, object]:
        """For `--json` and the auditor."""
        return {
            "verified": True,
            "image": self.subject,
            "release": {"name": self.name, "version": self.version, "counter": self.counter},
            "keys": list(self.keys),
            "steps": [step.as_dict() for step in self.steps],
        }


def verify_image(
    store: ImageStore,
    name: str,
    trust: TrustPolicy,
    *,
    repository: str | None = None,
    progress: Progress = SILENT,
) -> ImageReport:
    """Check the image `name` (a tag, or `sha256:…`) in `store`, to its last byte.

    `repository` is the one that it was signed for, when the store is a mirror of it. Raises
    VerificationError, naming the step, UnavailableError when the registry does not answer.
    """
    steps = StepRunner(progress, STEPS, NEXT_STEP)
    progress.step(f"verify {store.location}")
    signed_for = repository or store.location

    data = steps.run(1, "manifest", lambda: _manifest(store, name))
    digest = Digest.of(data)
    steps.tell({"bytes": len(data)})
    found = steps.run(2, "signature", lambda: _signatures(store, digest, signed_for, trust))
    steps.tell({"trusted keys": len(found)})
    image, config = steps.run(3, "document", lambda: _document(store, data, digest))
    steps.tell({"layers": len(image.layers)})
    attested = steps.run(4, "attestations", lambda: _attestations(store, digest, trust))
    steps.run(4, "attestations", lambda: _complete(image, config, attested))
    steps.tell({"attestations": len(attested)})
    told = _told(attested)
    steps.run(5, "standing", lambda: _standing(digest, told, found, trust))
    steps.tell({})
    steps.count(6, "layers", lambda: _layers(store, image, config, progress))
    steps.refuse_if_found()
    return ImageReport(
        f"{store.location}@{digest}",
        told.name,
        told.version,
        told.counter,
        tuple(key.fingerprint for key in found),
        tuple(steps.passed),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What the provenance says of the release that the image came from."""

    name: str
    version: str
    counter: int | None


def _manifest(store: ImageStore, name: str) -> bytes:
    data = _bounded(store.manifest(name, MAX_JSON), name)
    if name.startswith("sha256:") and str(Digest.of(data)) != name:
        raise VerificationError("the registry gave another manifest", where=name)
    return data


def _signatures(
    store: ImageStore, digest: Digest, repository: str, trust: TrustPolicy
) -> tuple[PublicKey, ...]:
    """The trusted keys that signed. Every signature that stands there must be such a key's."""
    tag = f"sha256-{digest.hex}.sig"
    document = _artifact(store, tag, "the image is not signed")
    found: dict[PublicKey, None] = {}
    for layer in document.layers:
        payload = _small(store, layer, MediaType.SIMPLE_SIGNING, MAX_PAYLOAD)
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


def _document(
    store: ImageStore, data: bytes, digest: Digest
) -> tuple[ManifestDocument, Mapping[str, Any]]:
    member = Member(MediaType.MANIFEST, digest, len(data), {})
    image = manifest_document(_object(data, str(digest)), member)
    if image.subject or image.artifact_type or image.config.media_type != MediaType.CONFIG:
        raise VerificationError("an artifact stands in the place of an image", where=str(digest))
    config = _object(_read(store, image.config, MAX_JSON), str(image.config.digest))
    check_paired(config, image.layers, str(digest))
    return image, config


def _attestations(store: ImageStore, digest: Digest, trust: TrustPolicy) -> list[Statement]:
    """Every attestation where they are looked for, each a trusted key's and about the image."""
    statements = []
    tag = f"sha256-{digest.hex}.att"
    for layer in _artifact(store, tag, "nothing is attested about the image").layers:
        data = _small(store, layer, MediaType.DSSE, MAX_ENVELOPE)
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
    entries = _object(_bounded(index, where), where).get("manifests")
    for entry in descriptors(entries, where)[:MAX_REFERRERS]:
        data = _bounded(store.manifest(str(entry.digest), MAX_JSON), str(entry.digest))
        if Digest.of(data) != entry.digest:
            raise VerificationError("the registry gave another manifest", where=str(entry.digest))
        document = manifest_document(_object(data, str(entry.digest)), entry)
        if document.artifact_type != MediaType.SIGSTORE_BUNDLE or len(document.layers) != 1:
            continue
        subject = document.subject.digest if document.subject else digest
        bundle = _small(store, document.layers[0], MediaType.SIGSTORE_BUNDLE, MAX_ENVELOPE)
        annotations = _object(data, str(entry.digest)).get("annotations", {})
        _, statement = _by_some_key(
            trust,
            document.layers[0],
            lambda key: bundled_statement(bundle, annotations, subject, key),  # noqa: B023
        )
        yield statement


def _complete(
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


def _told(statements: Sequence[Statement]) -> _Told:
    """Name, version and counter from the provenance, which step 4 found."""
    for statement in statements:
        match statement.predicate:
            case {
                "buildDefinition": {
                    "externalParameters": {"name": str(name), "version": str(version), **more}
                }
            } if statement.predicate_type == SLSA_PROVENANCE:
                counter = more.get("counter")
                return _Told(name, version, counter if isinstance(counter, int) else None)
            case _:
                pass
    return _Told("", "", None)


def _standing(digest: Digest, told: _Told, found: Sequence[PublicKey], trust: TrustPolicy) -> None:
    if digest in trust.revoked_releases:
        raise VerificationError("this image is revoked", got=str(digest))
    counter = -1 if told.counter is None else told.counter
    able = [key for key in found if trust.may_sign(key, counter)]
    if len(able) < trust.required:
        raise VerificationError(
            "the key that signed this image was rotated away before it",
            expected=f"{trust.required} signatures of keys that may sign for counter {counter}",
            got=str(len(able)),
        )
    minimum = trust.minimum_of(told.name)
    if counter < minimum:
        raise VerificationError(
            "the image is older than what is accepted here (a downgrade)",
            expected=f"{told.name} with counter {minimum} or higher",
            got=f"version {told.version}, counter {told.counter}",
        )


def _layers(
    store: ImageStore, image: ManifestDocument, config: Mapping[str, Any], progress: Progress
) -> dict[str, int]:
    diff_ids = config["rootfs"]["diff_ids"]
    pairs = sorted(
        zip(image.layers, diff_ids, strict=True), key=lambda pair: (-pair[0].size, pair[0].digest)
    )
    total, done = sum(layer.size for layer in image.layers), 0
    findings = []
    with ThreadPoolExecutor(min(4, workers()), thread_name_prefix="layer") as pool:
        checks = pool.map(lambda pair: _layer_finding(store, *pair), pairs)
        for (layer, _), finding in zip(pairs, checks, strict=True):
            done += layer.size
            progress.advance(f"layer {layer.digest}", done, total)
            findings += [finding] if finding else []
    if findings:
        raise VerificationError.of(findings)
    return {"layers": len(pairs), "bytes": total}


def _layer_finding(store: ImageStore, layer: Member, diff_id: str) -> Finding | None:
    """Reads a layer once: what comes is hashed, and unpacked at the same time."""
    where = str(layer.digest)
    with store.blob(layer.digest) as stream:
        counted = _Counted(stream, layer.size)
        plain: Digest | None = None
        problem = None
        try:
            if layer.media_type in (MediaType.LAYER_GZIP, MediaType.LAYER_ZSTD):
                plain = plain_digest(cast(BinaryIO, counted), layer.size, layer.media_type)
        except (OSError, *DAMAGE) as error:
            problem = str(error)
        counted.drain()
    if counted.size != layer.size:
        return Finding("the size differs", where, f"{layer.size} bytes", f"{counted.size} bytes")
    if counted.digest != layer.digest:
        return Finding("the content differs", where, where, str(counted.digest))
    if problem:
        return Finding("the layer cannot be unpacked", where, got=problem)
    match layer.media_type:
        case MediaType.LAYER_TAR:
            plain = layer.digest
        case MediaType.LAYER_GZIP | MediaType.LAYER_ZSTD:
            pass
        case MediaType.LAYER_TAR_ENCRYPTED | MediaType.LAYER_GZIP_ENCRYPTED:
            return None  # step 4 asked for the attestation of what comes out
        case other:
            return Finding("not a kind of layer that is used here", where, got=other[:100])
    if str(plain) != diff_id:
        return Finding("the layer unpacks to something else", where, diff_id, str(plain))
    return None


class _Counted:
    """A stream that is hashed as it is read, and never further than one byte past its size."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size + 1
        self._sha = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        return Digest(self._sha.hexdigest())

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(self._left if count < 0 else min(count, self._left))
        self._sha.update(data)
        self._left -= len(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self._left > 0 and self.read(CHUNK):
            pass


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


def _artifact(store: ImageStore, tag: str, missing: str) -> ManifestDocument:
    data = store.manifest(tag, MAX_JSON)
    if data is None:
        raise VerificationError(missing, where=f"{store.location}:{tag}")
    member = Member(MediaType.MANIFEST, Digest.of(data), len(data), {})
    document = manifest_document(_object(_bounded(data, tag), tag), member)
    if not 0 < len(document.layers) <= MAX_SIGNATURES:
        raise VerificationError(missing, where=f"{store.location}:{tag}", got="no or too many")
    return document


def _small(store: ImageStore, layer: Member, media_type: str, limit: int) -> bytes:
    if layer.media_type != media_type:
        raise VerificationError(
            "something else stands where signatures are looked for",
            where=str(layer.digest),
            expected=media_type,
            got=layer.media_type[:100],
        )
    return _read(store, layer, limit)


def _read(store: ImageStore, member: Member, limit: int) -> bytes:
    """A small blob of exactly its size and digest."""
    where = str(member.digest)
    if member.size > limit:
        raise VerificationError(
            "it is too long for what it is", where=where, expected=f"at most {limit} bytes"
        )
    pieces = bytearray()
    with store.blob(member.digest) as stream:
        while len(pieces) <= member.size and (piece := stream.read(member.size + 1 - len(pieces))):
            pieces += piece
    data = bytes(pieces)
    if len(data) != member.size or Digest.of(data) != member.digest:
        raise VerificationError("the registry gave other bytes", where=where)
    return data


def _bounded(data: bytes | None, where: str) -> bytes:
    if data is None:
        raise VerificationError("there is no such image", where=where)
    if len(data) > MAX_JSON:
        raise VerificationError("it is too long", where=where, expected=f"at most {MAX_JSON} bytes")
    return data


def _object(data: bytes, where: str) -> dict[str, Any]:
    try:
        return load_object(data, limit=MAX_JSON)
    except ValueError as error:
        raise VerificationError("it cannot be understood", where=where, got=str(error)) from None
