"""Verifies a release against a public key that the caller trusts. Needs nothing else.

No network, no clock, no key from the release itself. Fail-closed: whatever is not shown to be right
is refused, and there is no way to go on after a refusal. The steps, in order:

  1. seal              release.json and its two signatures are plain files within bounds
  2. signature         as many trusted keys as required signed release.json
  3. document          release.json is one canonical document of the known shape
  4. standing          all its signers signed; nothing is revoked; it is not older than accepted
  5. closed world      exactly the listed files: nothing added, missing, linked, or oddly named
  6. digests           every listed file has the size and SHA-256 that release.json says
  7. checksums         checksums.txt is bound by release.json and says the same
  8. images            every image is in the OCI layout, whole; its layers are of a known kind,
                       and unpack to what it promises, when the caller asks for `contents`
  9. image signatures  every image is signed by the first key, for its repository
 10. attestations      every image has provenance, bills of materials, decisions and quality record
 11. targets           manifests name their own target's image, by digest, and no other

Nothing is believed before step 2: until then only three files are read, and one for each further
key that the caller trusts, each within a bound. Steps 5 to 7 tell all that they find at once, and
so do 8 to 11; a refusal names its step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packager.attest.files_check import check_checksums, check_closed_world, check_digests
from packager.attest.image_signature_check import check_attestations, check_image_signatures
from packager.attest.keys import PublicKey
from packager.attest.layout_check import check_layout
from packager.attest.manifest_check import check_manifests
from packager.attest.part import narrowed
from packager.attest.signed_release import (
    SignedRelease,
    check_signature,
    read_document,
    read_seal,
)
from packager.attest.standing import check_standing
from packager.attest.step_runner import StepRunner, VerifiedStep
from packager.attest.trust import TrustPolicy
from packager.digest import Digest
from packager.progress import SILENT, Progress
from packager.release_source import FolderSource, ReleaseSource

NEXT_STEP = "do not use this release; get it again from its maker"
STEPS = 11
OPENING = (1, "seal", NEXT_STEP)  # a bundle, whose front has to be found, or the index of parts


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What was checked, in which order, with what result. There is a report only when all passed.

    `digest` is of release.json and names the whole release; `counter` is what a site remembers
    against downgrade; `keys` are the fingerprints of the trusted keys whose signatures counted.
    `signer` is the first key of the release: it signed the images.
    `left_out` are targets of the release that this source does not carry. `contents` tells whether
    layers were unpacked too.
    """

    name: str
    version: str
    counter: int
    digest: Digest
    keys: tuple[str, ...]
    signer: PublicKey
    targets: tuple[str, ...]
    left_out: tuple[str, ...]
    steps: tuple[VerifiedStep, ...]
    contents: bool

    def as_dict(self) -> dict[str, object]:
        """For `--json` and the auditor."""
        return {
            "verified": True,
            "release": {
                "name": self.name,
                "version": self.version,
                "counter": self.counter,
                "digest": str(self.digest),
            },
            "keys": list(self.keys),
            "targets": list(self.targets),
            "left_out": list(self.left_out),
            "contents": self.contents,
            "steps": [step.as_dict() for step in self.steps],
        }


def verify(
    release: ReleaseSource | Path,
    trust: TrustPolicy | PublicKey,
    progress: Progress = SILENT,
    *,
    contents: bool = False,
) -> VerificationReport:
    """Check every byte of a release, in a folder or in any other source (`release_source.py`).

    The steps stand in the module's docstring. Raises VerificationError, naming the step and the
    path, for anything that is not as signed; InputError when a given path is no folder at all.
    A key alone stands for a policy that trusts it and knows of no revocation and no age. With
    `contents`, layers are unpacked too: for whoever made the release (docs/adr/0051).
    """
    if isinstance(trust, PublicKey):
        trust = TrustPolicy.of(trust)
    source = FolderSource.at(release) if isinstance(release, Path) else release
    steps = StepRunner(progress, STEPS, NEXT_STEP)
    progress.step(f"verify {source.location}")

    seal = steps.run(1, "seal", lambda: read_seal(source))
    steps.tell({"bytes": len(seal.root)})
    keys = steps.run(2, "signature", lambda: check_signature(source, seal, trust))
    steps.tell({"trusted keys": len(keys)})
    root = steps.run(3, "document", lambda: read_document(seal))
    steps.tell({"files": len(root.files), "targets": len(root.images)})
    standing = steps.run(4, "standing", lambda: check_standing(source, seal, root, trust, keys))
    steps.tell(standing)

    listed = {file.path: file for file in root.files}
    inventory = steps.run(5, "closed world", source.inventory)
    whole = SignedRelease(source, inventory, root, listed, progress)
    signed = steps.run(5, "closed world", lambda: narrowed(whole))
    steps.count(5, "closed world", lambda: check_closed_world(signed))
    steps.count(6, "digests", lambda: check_digests(signed))
    steps.count(7, "checksums", lambda: check_checksums(signed))
    steps.refuse_if_found()

    steps.count(8, "images", lambda: check_layout(signed, contents=contents))
    steps.count(9, "image signatures", lambda: check_image_signatures(signed))
    steps.count(10, "attestations", lambda: check_attestations(signed))
    steps.count(11, "targets", lambda: check_manifests(signed))
    steps.refuse_if_found()

    return VerificationReport(
        name=root.name,
        version=root.version,
        counter=root.counter,
        digest=Digest.of(seal.root),
        keys=tuple(key.fingerprint for key in keys),
        signer=root.signers[0],
        targets=tuple(image.target for image in signed.root.images),
        left_out=tuple(sorted(set(root.targets) - set(signed.root.targets))),
        steps=tuple(steps.passed),
        contents=contents,
    )
