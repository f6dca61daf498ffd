"""Open an encrypted image of a verified release with the key that is held in the country."""

from __future__ import annotations

from pathlib import Path

from packager import pipeline
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.oci.decryption import DecryptionKey
from packager.progress import Progress
from packager.steps.decrypting import Decrypted, plain_layout


def decrypt(
    release: Path,
    trust: TrustFiles,
    target: TargetName | None,
    key: Path,
    output: Path,
    progress: Progress,
) -> Decrypted:
    """Verify a release, then write a target's image as a plain OCI layout to `output`.

    Raises VerificationError when the release is not as signed, the key is not a recipient's, or a
    layer is not what was encrypted; nothing is published then.
    """
    opened = DecryptionKey(key)
    found = pipeline.open_verified(release, trust, progress)
    return plain_layout(found, found.target(target), opened, output, progress)
