"""Sign every image, and what we say about it, in the forms that stock tools verify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager import __version__
from packager.assemble.lock_file import lock_bytes
from packager.attest.cosign import (
    attestation_artifact,
    bundle_referrer,
    repository_of,
    signature_artifact,
)
from packager.attest.keys import Signer
from packager.attest.provenance import slsa_provenance
from packager.attest.sbom import cyclonedx
from packager.canonical import SourceDateEpoch, dumps_readable
from packager.digest import Digest
from packager.domain.lock import Lock
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.oci.layout import LayoutWriter
from packager.progress import Progress
from packager.steps.assembling import shipped_environment
from packager.workspace import write_atomically

CYCLONEDX = "https://cyclonedx.org/bom"
SLSA = "https://slsa.dev/provenance/v1"


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
    """For each image: a cosign signature, its bill of materials, its provenance; then the layout
    is whole. The documents stand as files under `evidence/` too."""
    locked = lock_bytes(lock)
    write_atomically(release / "evidence" / "packager.lock", locked)
    for target in built:
        name = target.plan.name
        progress.step(f"attest {name}")
        environment = shipped_environment(target.plan, target.model, lock)
        predicates = {
            CYCLONEDX: cyclonedx(target, request, environment, epoch),
            SLSA: slsa_provenance(
                target, request, environment, Digest.of(locked), epoch, __version__
            ),
        }
        write_atomically(release / name.sbom_path, dumps_readable(predicates[CYCLONEDX]))
        write_atomically(release / name.provenance_path, dumps_readable(predicates[SLSA]))
        repository = repository_of(target.image.reference)
        layout.add_artifact(signature_artifact(target.image, repository, signer))
        layout.add_artifact(attestation_artifact(target.image, predicates, signer))
        for kind, predicate in predicates.items():
            layout.add_artifact(bundle_referrer(target.image, kind, predicate, signer))
    layout.close()
