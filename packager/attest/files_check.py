"""What is there against the root's list: steps 5 to 7."""

from __future__ import annotations

from packager.attest import root
from packager.attest.hashing import digest_files
from packager.attest.signed_release import SignedRelease
from packager.closed_world import unused_folders
from packager.digest import Digest
from packager.errors import Finding, VerificationError
from packager.release_source import read_bounded


def check_closed_world(release: SignedRelease) -> dict[str, int]:
    """Step 5, closed world: exactly the listed files, plain, with plain names, in plain folders."""
    inventory = release.inventory
    findings = list(inventory.findings)
    present = set(inventory.files)
    signatures = {root.signature_path(key) for key in release.root.signers[1:]}
    expected = release.listed.keys() | root.UNLISTED | signatures
    told = {finding.where for finding in findings}
    findings += [
        Finding("the release does not name this file", path, next_step="nothing may be added")
        for path in sorted(present - expected)
    ]
    findings += [
        Finding("the file is missing", path)
        for path in sorted(expected - present)
        if path not in told
    ]
    findings += [
        Finding("nothing in the release lies in this folder", path)
        for path in unused_folders(inventory.folders, expected)
    ]
    _refuse(findings)
    return {"files": len(present), "folders": len(inventory.folders)}


def check_digests(release: SignedRelease) -> dict[str, int]:
    """Step 6, digests: every listed file has the size and the SHA-256 that the root says."""
    findings = []
    sizes = {}
    for path, file in release.listed.items():
        found = release.inventory.files.get(path)
        if found is None:
            findings.append(Finding("there is no such plain file", path))
        elif found != file.size:
            findings.append(Finding("the size differs", path, _bytes(file.size), _bytes(found)))
        else:
            sizes[path] = found
    digests, failures = digest_files(release.source, sizes, release.progress)
    findings += [
        Finding("it cannot be read", path, got=str(failures[path])) for path in sorted(failures)
    ]
    findings += [
        Finding("the content differs", path, str(release.listed[path].digest), str(digest))
        for path, digest in sorted(digests.items())
        if digest != release.listed[path].digest
    ]
    _refuse(findings)
    return {"files": len(digests), "bytes": sum(sizes.values())}


def check_checksums(release: SignedRelease) -> dict[str, int]:
    """Step 7, checksums: `checksums.txt` is bound by the root and says the same as the root."""
    listed = release.root
    data = read_bounded(release.source, root.CHECKSUMS, listed.checksums.size)
    expected = root.checksums_bytes(listed.files)
    same_binding = (len(expected), Digest.of(expected), len(listed.files)) == (
        listed.checksums.size,
        listed.checksums.digest,
        listed.checksums_count,
    )
    if not same_binding:
        _refuse([Finding("the root binds another list than its own files", root.ROOT)])
    if data != expected:
        _refuse([Finding("it differs from what the root names", root.CHECKSUMS)])
    return {"lines": len(listed.files)}


def _bytes(size: int) -> str:
    return f"{size} bytes"


def _refuse(findings: list[Finding]) -> None:
    if findings:
        raise VerificationError.of(findings)
