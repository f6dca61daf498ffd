"""The front of a release, believed: enough to carry it further without hashing all of it first.

Whoever moves a release (into a bundle, to a registry) compares each file with the signed list while
it moves it, so that every byte is read once. What only the whole can show is for `verifying`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packager.attest import root
from packager.attest.files_check import check_checksums, check_closed_world
from packager.attest.part import narrowed
from packager.attest.signed_release import (
    SignedRelease,
    check_signature,
    read_document,
    read_seal,
)
from packager.attest.standing import check_standing
from packager.attest.trust import TrustPolicy
from packager.progress import Progress
from packager.release_source import ReleaseSource, read_bounded


@dataclass(frozen=True, slots=True)
class Front:
    """What release.json does not name: itself, its signatures, the list of checksums; checked.

    `seal` are their bytes by name.
    """

    seal: Mapping[str, bytes]

    @property
    def root(self) -> bytes:
        """release.json"""
        return self.seal[root.ROOT]


def open_front(source: ReleaseSource, trust: TrustPolicy, progress: Progress) -> Front:
    """Signature, document, standing, closed world and checksums; raises VerificationError.

    The digests of the files are left to whoever reads them.
    """
    progress.step(f"check the signature of {source.location}")
    seal = read_seal(source)
    keys = check_signature(source, seal, trust)
    document = read_document(seal)
    check_standing(source, seal, document, trust, keys)
    listed = {file.path: file for file in document.files}
    signed = SignedRelease(source, source.inventory(), document, listed, progress)
    check_closed_world(narrowed(signed))
    check_checksums(signed)
    names = sorted(signed.inventory.files.keys() - listed.keys())
    read = {name: read_bounded(source, name, root.MAX_ROOT) for name in names}
    return Front(read | {root.ROOT: seal.root})
