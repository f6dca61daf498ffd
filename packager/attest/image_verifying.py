"""Verifies one image in a registry against keys that the caller trusts. The steps, in order:

  1. manifest      what the name stands for is one image manifest, with the digest asked for
  2. signature     as many trusted keys as required signed this digest for this repository
  3. document      manifest and configuration are of the known shape and belong together
  4. attestations  all evidence is there, signed by a trusted key, about this image
  5. standing      nothing is revoked, no key was rotated away, it is not older than accepted
  6. layers        every layer has the size and SHA-256 of its descriptor, and unpacks as the
                   configuration promises, when the caller asks for `contents`

Before step 2, three small documents are read, each within a bound. A registry may hold more than we
put there, but not under the names where signatures and attestations are looked for: whatever stands
there must be a trusted key's. Layers are read once, in constant memory, and stored nowhere.

A registry knows no release: closed world, checksums and manifests are checked for a folder or a
bundle. Which images belong to a release is signed in release.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packager.attest.image_claims import check_complete, check_signatures, read_attestations
from packager.attest.image_layers import check_layers
from packager.attest.image_standing import check_image_standing, told_by
from packager.attest.image_store import ImageStore, bounded, parse_object, read_blob
from packager.attest.layout_check import check_paired
from packager.attest.layout_index import MAX_JSON, ManifestDocument, Member, manifest_document
from packager.attest.statement import COSIGN_SIGN
from packager.attest.step_runner import StepRunner, VerifiedStep
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError
from packager.progress import SILENT, Progress

NEXT_STEP = "do not use this image; push it again from a release that verifies"
STEPS = 6


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
    contents: bool

    def as_dict(self) -> dict[str, object]:
        """For `--json` and the auditor."""
        return {
            "verified": True,
            "image": self.subject,
            "release": {"name": self.name, "version": self.version, "counter": self.counter},
            "keys": list(self.keys),
            "contents": self.contents,
            "steps": [step.as_dict() for step in self.steps],
        }


def verify_image(
    store: ImageStore,
    name: str,
    trust: TrustPolicy,
    *,
    repository: str | None = None,
    progress: Progress = SILENT,
    contents: bool = False,
) -> ImageReport:
    """Check the image `name` (a tag, or `sha256:…`) in `store`, to its last byte.

    `repository` is the one that it was signed for, when the store is a mirror of it; with
    `contents`, layers are unpacked too. Raises VerificationError, naming the step, UnavailableError
    when the registry does not answer.
    """
    steps = StepRunner(progress, STEPS, NEXT_STEP)
    progress.step(f"verify {store.location}")
    signed_for = repository or store.location

    data = steps.run(1, "manifest", lambda: read_manifest(store, name))
    digest = Digest.of(data)
    steps.tell({"bytes": len(data)})
    found = steps.run(2, "signature", lambda: check_signatures(store, digest, signed_for, trust))
    steps.tell({"trusted keys": len(found)})
    image, config = steps.run(3, "document", lambda: read_document(store, data, digest))
    steps.tell({"layers": len(image.layers)})
    attested = steps.run(4, "attestations", lambda: read_attestations(store, digest, trust))
    steps.run(4, "attestations", lambda: check_complete(image, config, attested))
    steps.tell({"attestations": sum(it.predicate_type != COSIGN_SIGN for it in attested)})
    told = told_by(attested)
    steps.run(5, "standing", lambda: check_image_standing(digest, told, found, trust))
    steps.tell({})
    steps.count(
        6, "layers", lambda: check_layers(store, image, config, progress, contents=contents)
    )
    steps.refuse_if_found()
    return ImageReport(
        f"{store.location}@{digest}",
        told.name,
        told.version,
        told.counter,
        tuple(key.fingerprint for key in found),
        tuple(steps.passed),
        contents,
    )


def read_manifest(store: ImageStore, name: str) -> bytes:
    data = bounded(store.manifest(name, MAX_JSON), name)
    if name.startswith("sha256:") and str(Digest.of(data)) != name:
        raise VerificationError("the registry gave another manifest", where=name)
    return data


def read_document(
    store: ImageStore, data: bytes, digest: Digest
) -> tuple[ManifestDocument, Mapping[str, Any]]:
    member = Member(MediaType.MANIFEST, digest, len(data), {})
    image = manifest_document(parse_object(data, str(digest)), member)
    if image.subject or image.artifact_type or image.config.media_type != MediaType.CONFIG:
        raise VerificationError("an artifact stands in the place of an image", where=str(digest))
    config = parse_object(read_blob(store, image.config, MAX_JSON), str(image.config.digest))
    check_paired(config, image.layers, str(digest))
    return image, config
