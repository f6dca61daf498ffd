"""Seals a release folder: names every file in `release.json`, and signs that one document.

The signature is written twice: as sigstore bundle for cosign, and raw for openssl:

    openssl dgst -sha256 -verify site.pub -signature release.sig release.json
    sha256sum -c checksums.txt
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packager.attest import root, sigstore
from packager.attest.hashing import digest_files
from packager.attest.keys import Signer
from packager.attest.root import ListedFile
from packager.digest import Digest
from packager.errors import Finding, OutputError
from packager.progress import SILENT, Progress
from packager.release_source import FolderSource
from packager.workspace import write_atomically


def seal(
    folder: Path, document: Mapping[str, Any], signer: Signer, progress: Progress = SILENT
) -> Digest:
    """Write `checksums.txt`, `release.json` and its two signatures; the digest of `release.json`.

    `document` is everything that `release.json` says beside its files. Raises OutputError, with all
    findings, when the folder holds anything that a release must not: a link, a device, a name that
    collides, a seal already.
    """
    files = _payload(folder, progress)
    data = root.with_files(document, files)
    root.parse_root(data)
    write_atomically(folder / root.CHECKSUMS, root.checksums_bytes(files))
    write_atomically(folder / root.ROOT, data)
    write_atomically(folder / root.BUNDLE, sigstore.message_bundle(data, signer))
    write_atomically(folder / root.RAW_SIGNATURE, signer.sign(data))
    return Digest.of(data)


def _payload(folder: Path, progress: Progress) -> list[ListedFile]:
    source = FolderSource(folder)
    inventory = source.inventory()
    findings = list(inventory.findings)
    findings += [
        Finding("the folder is sealed already", path)
        for path in sorted(root.UNLISTED & inventory.files.keys())
    ]
    findings += [Finding("the folder is empty", path) for path in inventory.empty_folders]
    digests, failures = digest_files(source, inventory.files, progress)
    findings += [Finding("it cannot be read", path, got=str(failures[path])) for path in failures]
    if findings:
        raise OutputError.of(findings)
    return [ListedFile(path, digests[path], size) for path, size in inventory.files.items()]
