"""Sign every image, and what we say about it, in the forms that stock tools verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packager import __version__
from packager.assemble.lock_file import lock_bytes
from packager.assemble.model_files import placed_files
from packager.attest.cosign import (
    attestation_artifact,
    bundle_referrer,
    repository_of,
    signature_artifact,
    signature_referrer,
)
from packager.attest.encryption_statement import encryption_predicate
from packager.attest.keys import Signer
from packager.attest.model_signing import model_signature
from packager.attest.provenance import slsa_provenance
from packager.attest.sbom import cyclonedx
from packager.attest.spdx import spdx
from packager.attest.statement import (
    COMPLIANCE,
    CYCLONEDX,
    ENCRYPTION,
    QUALITY,
    SLSA_PROVENANCE,
    SPDX,
)
from packager.canonical import SourceDateEpoch, dumps_readable
from packager.comply.report import target_record
from packager.digest import Digest
from packager.domain.lock import Lock
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.oci.encryption import is_encrypted, plain_manifest
from packager.oci.layout import LayoutWriter
from packager.optimize.evidence import quality_record
from packager.progress import Progress
from packager.steps.assembling import shipped_environment
from packager.workspace import write_atomically


def attest(
    request: ReleaseRequest,
    built: Sequence[BuiltTarget],
    lock: Lock,
    epoch: SourceDateEpoch,
    signer: Signer,
    layout: LayoutWriter,
    release: Path,
    progress: Progress,
) -> None:
    """For each image: a cosign signature, and what we say about it, each bound to its digest; for
    each model: its own signature. Bills of materials and provenance stand
    as files under `evidence/` too."""
    locked = lock_bytes(lock)
    write_atomically(release / "evidence" / "packager.lock", locked)
    for target in built:
        name = target.plan.name
        progress.step(f"attest {name}")
        environment = shipped_environment(target.plan, target.models, lock)
        bom = cyclonedx(target, request, environment, epoch)
        provenance = slsa_provenance(
            target, request, environment, Digest.of(locked), epoch, __version__
        )
        predicates = {
            CYCLONEDX: bom,
            SPDX: spdx(bom),
            SLSA_PROVENANCE: provenance,
            COMPLIANCE: target_record(request, target, epoch.rfc3339()),
            QUALITY: _quality(target, request),
        }
        if is_encrypted(target.image):
            predicates[ENCRYPTION] = encryption_predicate(
                target.image, Digest.of(plain_manifest(target.image))
            )
        for path, kind in (
            (name.sbom_path, CYCLONEDX),
            (name.spdx_path, SPDX),
            (name.provenance_path, SLSA_PROVENANCE),
        ):
            write_atomically(release / path, dumps_readable(predicates[kind]))
        for asked, model in zip(request.models, target.models, strict=True):
            files = [(path, digest) for path, _, digest, _ in placed_files(model)]
            called = asked.model_name.name
            write_atomically(
                release / name.model_signature_path(asked.records),
                model_signature(called, files, signer),
            )
        repository = repository_of(target.image.reference)
        layout.add_artifact(signature_artifact(target.image, repository, signer))
        layout.add_artifact(signature_referrer(target.image, signer))
        layout.add_artifact(attestation_artifact(target.image, predicates, signer))
        for kind, predicate in predicates.items():
            layout.add_artifact(bundle_referrer(target.image, kind, predicate, signer))


def _quality(target: BuiltTarget, request: ReleaseRequest) -> dict[str, Any]:
    """The quality record of the model; of several models that of each by name and version."""
    if not target.beside:
        return quality_record(target.model)
    named = zip(request.models, target.models, strict=True)
    return {"models": {one.model_name.folder: quality_record(model) for one, model in named}}
