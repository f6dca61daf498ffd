"""Seals a release folder: names every file in `release.json`, and signs that one document.

The signature is written twice: as sigstore bundle for cosign, and raw for openssl:

    openssl dgst -sha256 -verify site.pub -signature release.sig release.json
    sha256sum -c checksums.txt
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packager.attest import root, sigstore
from packager.attest.hashing import digest_files
from packager.attest.keys import Signer, public_key_of
from packager.attest.root import ListedFile
from packager.digest import Digest
from packager.errors import Finding, OutputError
from packager.hashed import known_digest
from packager.progress import SILENT, Progress
from packager.release_source import FolderSource
from packager.workspace import write_atomically


def seal(
    folder: Path,
    document: Mapping[str, Any],
    signer: Signer,
    progress: Progress = SILENT,
    also: Sequence[Signer] = (),
) -> Digest:
    """Write `checksums.txt`, `release.json` and its signatures; the digest of `release.json`.

    `signer` signs in the forms that stock tools read; those of `also` sign the root beside it, each
    in a sigstore bundle of its own. `document` is everything that
    `release.json` says beside its files and signers. Raises OutputError, with all findings, when
    the folder holds anything that a release must not: a link, a device, a name that collides, a
    seal already.
    """
    files = _payload(folder, progress)
    keys = [public_key_of(each) for each in (signer, *also)]
    data = root.with_files(document, files, keys)
    root.parse_root(data)
    write_atomically(folder / root.CHECKSUMS, root.checksums_bytes(files))
    write_atomically(folder / root.ROOT, data)
    write_atomically(folder / root.BUNDLE, sigstore.message_bundle(data, signer))
    write_atomically(folder / root.RAW_SIGNATURE, signer.sign(data))
    for other, key in zip(also, keys[1:], strict=True):
        write_atomically(folder / root.signature_path(key), sigstore.message_bundle(data, other))
    return Digest.of(data)


def _payload(folder: Path, progress: Progress) -> list[ListedFile]:
    source = FolderSource(folder)
    inventory = source.inventory()
    findings = list(inventory.findings)
    findings += [
        Finding("the folder is sealed already", path)
        for path in sorted(inventory.files)
        if root.is_seal(path)
    ]
    findings += [Finding("the folder is empty", path) for path in inventory.empty_folders]
    # Layers of gigabytes were hashed when they were written, or taken from the store.
    digests = {path: one for path in inventory.files if (one := known_digest(folder / path))}
    unread = {path: size for path, size in inventory.files.items() if path not in digests}
    hashed, failures = digest_files(source, unread, progress)
    digests |= hashed
    findings += [Finding("it cannot be read", path, got=str(failures[path])) for path in failures]
    if findings:
        raise OutputError.of(findings)
    return [ListedFile(path, digests[path], size) for path, size in inventory.files.items()]
