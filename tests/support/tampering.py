"""What can be done to a release: the matrix of probes, each with the step that must refuse it.

A `Probe` harms the folder of a sealed release, as an enemy without the key would: the signature of
the root, or the list that it carries, must catch it. What is wrong in spite of a valid signature is
in `inner_faults.py`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from small_release import SmallRelease, make_release, sign_root
from tiny_images import edit_json

from packager.attest import root, sigstore
from packager.attest.keys import generate_key, open_signer
from packager.canonical import dumps
from packager.digest import Digest

SBOM = "evidence/sbom/de-x86-64-v3-kubernetes.cdx.json"
MANIFEST = "targets/de/x86-64-v3/kubernetes/workload.yaml"
INDEX = "images/index.json"


@dataclass(frozen=True)
class Probe:
    """`harm` changes the folder; step `step` must refuse it, naming `where`, a part of a path."""

    name: str
    step: int
    where: str
    harm: Callable[[SmallRelease], None]

    def __str__(self) -> str:
        return self.name


def flip(path: Path, position: int | None = None) -> None:
    """Change one bit of a file; the file is written anew, so that no hard link is followed."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1
    path.unlink()
    path.write_bytes(data)


def _flip(name: str, path: str, step: int = 6) -> Probe:
    return Probe(name, step, path, lambda release: flip(release.folder / path))


def _flip_blob(name: str, choose: Callable[[SmallRelease], Digest]) -> Probe:
    return Probe(name, 6, "images/blobs", lambda release: flip(release.blob(choose(release))))


def _truncate(release: SmallRelease, path: str, keep: int) -> None:
    data = (release.folder / path).read_bytes()[:keep]
    (release.folder / path).unlink()
    (release.folder / path).write_bytes(data)


def _add(path: str, data: bytes = b"extra") -> Callable[[SmallRelease], None]:
    def harm(release: SmallRelease) -> None:
        (release.folder / path).write_bytes(data)

    return harm


def _remove(path: str) -> Callable[[SmallRelease], None]:
    return lambda release: (release.folder / path).unlink()


def _symlink(path: str) -> Callable[[SmallRelease], None]:
    """The same bytes, outside, behind a link."""

    def harm(release: SmallRelease) -> None:
        inside, outside = release.folder / path, release.folder.parent / "outside"
        shutil.move(inside, outside)
        inside.symlink_to(outside)

    return harm


def _hard_link(release: SmallRelease) -> None:
    os.link(release.folder / SBOM, release.folder / "evidence/twin.json")


def _special(kind: int, device: int = 0) -> Callable[[SmallRelease], None]:
    return lambda release: os.mknod(release.folder / "evidence/special", kind | 0o600, device)


def _folder_for_file(release: SmallRelease) -> None:
    (release.folder / SBOM).unlink()
    (release.folder / SBOM).mkdir()


def _swap(release: SmallRelease) -> None:
    first, second = (release.blob(target.image.config.digest) for target in release.built)
    data = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.unlink()
    first.write_bytes(data[1])
    second.write_bytes(data[0])


def _other(release: SmallRelease) -> SmallRelease:
    """A second release, validly signed with the same key."""
    base = release.folder.parent / "other"
    return make_release(base, version="1.3.0", key_file=release.key_file)


def _take_from_other(*paths: str) -> Callable[[SmallRelease], None]:
    def harm(release: SmallRelease) -> None:
        other = _other(release)
        for path in paths:
            (release.folder / path).unlink()
            shutil.copyfile(other.folder / path, release.folder / path)

    return harm


def _sign_with_other_key(release: SmallRelease) -> None:
    thief = generate_key(release.folder.parent / "thief.pem", None)
    data = (release.folder / root.ROOT).read_bytes()
    sign_root(release.folder, data, open_signer(str(thief.private), {}))


def _bundle(change: Callable[[dict], None]) -> Callable[[SmallRelease], None]:
    return lambda release: edit_json(release.folder / root.BUNDLE, change)


def _bundle_text(change: Callable[[str], str]) -> Callable[[SmallRelease], None]:
    def harm(release: SmallRelease) -> None:
        path = release.folder / root.BUNDLE
        path.write_text(change(path.read_text()))

    return harm


def _loose_base64(document: dict) -> None:
    """Another spelling of the same signature: bits that decoders ignore."""
    found = document["messageSignature"]["messageDigest"]
    text = found["digest"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")[-1]
    other = text.rstrip("=")[:-1] + alphabet[alphabet.index(last) ^ 1] + "="
    if base64.b64decode(other) != base64.b64decode(text):
        raise AssertionError("the spelling changed the bytes")
    found["digest"] = other


def _dsse_instead(release: SmallRelease) -> None:
    data = (release.folder / root.ROOT).read_bytes()
    (release.folder / root.BUNDLE).write_bytes(sigstore.dsse_bundle(data, release.signer))


def _new_version(release: SmallRelease) -> None:
    path = release.folder / root.ROOT
    document = json.loads(path.read_bytes())
    document["metadata"]["version"] = "9.9.9"
    path.write_bytes(dumps(document))


def _signed_root(change: Callable[[bytes], bytes]) -> Callable[[SmallRelease], None]:
    def harm(release: SmallRelease) -> None:
        data = change((release.folder / root.ROOT).read_bytes())
        sign_root(release.folder, data, release.signer)

    return harm


def _layer(release: SmallRelease, number: int) -> Digest:
    return release.built[0].image.layers[number].descriptor.digest


def _twins(release: SmallRelease) -> None:
    """One letter written in two ways: one file on some systems, two on others."""
    (release.folder / "evidence/\u00e9").write_bytes(b"")
    (release.folder / "evidence/e\u0301").write_bytes(b"")


PROBES: tuple[Probe, ...] = (
    # a flipped bit in each kind of file
    Probe("flip release.json", 2, root.BUNDLE, lambda release: flip(release.folder / root.ROOT)),
    _flip("flip bundle", root.BUNDLE, 2),
    _flip("flip raw signature", root.RAW_SIGNATURE, 2),
    _flip("flip checksums", root.CHECKSUMS, 7),
    _flip("flip index", INDEX),
    _flip("flip oci-layout", "images/oci-layout"),
    _flip("flip docker manifest", "images/manifest.json"),
    _flip("flip SBOM", SBOM),
    _flip("flip provenance", "evidence/provenance/sa-x86-64-v3-compose.slsa.json"),
    _flip("flip manifest", MANIFEST),
    _flip_blob("flip image manifest", lambda release: release.built[0].image.manifest.digest),
    _flip_blob("flip image config", lambda release: release.built[0].image.config.digest),
    _flip_blob("flip gzip layer", lambda release: _layer(release, 0)),
    _flip_blob("flip model layer", lambda release: _layer(release, 1)),
    # truncation
    Probe("truncate SBOM", 6, SBOM, lambda release: _truncate(release, SBOM, 40)),
    Probe("empty SBOM", 6, SBOM, lambda release: _truncate(release, SBOM, 0)),
    Probe("truncate root", 2, root.BUNDLE, lambda release: _truncate(release, root.ROOT, 500)),
    Probe("truncate bundle", 2, root.BUNDLE, lambda release: _truncate(release, root.BUNDLE, 99)),
    Probe("truncate checksums", 7, root.CHECKSUMS, lambda rel: _truncate(rel, root.CHECKSUMS, 100)),
    # removal
    Probe("remove SBOM", 5, SBOM, _remove(SBOM)),
    Probe("remove layer", 5, "images/blobs", lambda rel: rel.blob(_layer(rel, 1)).unlink()),
    Probe("remove checksums", 5, root.CHECKSUMS, _remove(root.CHECKSUMS)),
    Probe("strip bundle", 1, root.BUNDLE, _remove(root.BUNDLE)),
    Probe("strip raw signature", 1, root.RAW_SIGNATURE, _remove(root.RAW_SIGNATURE)),
    Probe("remove root", 1, root.ROOT, _remove(root.ROOT)),
    # addition
    Probe("add file", 5, "install.sh", _add("install.sh")),
    Probe("add hidden file", 5, "targets/.hidden", _add("targets/.hidden")),
    Probe("add blob", 5, "a" * 64, _add(f"images/blobs/sha256/{'a' * 64}")),
    Probe("add folder", 5, "empty", lambda release: (release.folder / "empty").mkdir()),
    # things that are no plain files
    Probe("symlink to the same bytes", 5, SBOM, _symlink(SBOM)),
    Probe("symlinked folder", 5, "evidence", _symlink("evidence")),
    Probe("symlinked root", 1, root.ROOT, _symlink(root.ROOT)),
    Probe("symlinked checksums", 5, root.CHECKSUMS, _symlink(root.CHECKSUMS)),
    Probe(
        "dangling symlink",
        5,
        "evidence/gone",
        lambda release: (release.folder / "evidence/gone").symlink_to("/nowhere"),
    ),
    Probe("hard link", 5, "evidence/twin.json", _hard_link),
    Probe("named pipe", 5, "evidence/special", _special(stat.S_IFIFO)),
    Probe("socket", 5, "evidence/special", _special(stat.S_IFSOCK)),
    Probe("file becomes folder", 5, SBOM, _folder_for_file),
    # names
    Probe("case collision", 5, "INDEX.json", _add("images/INDEX.json")),
    Probe("Unicode form collision", 5, "e\u0301", _twins),
    Probe("backslash in name", 5, "x\\\\y", _add("evidence/x\\y")),
    Probe("newline in name", 5, "x\\ny", _add("evidence/x\ny")),
    Probe("name not UTF-8", 5, "x\\udcff", _add("evidence/x\udcff")),
    # swapping
    Probe("swap two blobs", 6, "images/blobs", _swap),
    Probe("file of another release", 6, INDEX, _take_from_other(INDEX)),
    Probe(
        "signatures of another release",
        2,
        root.BUNDLE,
        _take_from_other(root.BUNDLE, root.RAW_SIGNATURE),
    ),
    Probe("raw signature of another release", 2, "release.sig", _take_from_other("release.sig")),
    Probe("root of another release", 2, root.BUNDLE, _take_from_other(root.ROOT)),
    Probe(
        "sealed root of an older release",
        5,
        "",
        _take_from_other(root.ROOT, root.BUNDLE, root.RAW_SIGNATURE),
    ),
    Probe("other key", 2, root.BUNDLE, _sign_with_other_key),
    Probe("changed root, old signatures", 2, root.BUNDLE, _new_version),
    # the bundle as an attack on its reader
    Probe("bundle too long", 1, root.BUNDLE, _bundle_text(lambda text: text + " " * 70_000)),
    Probe("bundle nested", 2, root.BUNDLE, _bundle_text(lambda text: "[" * 60_000)),
    Probe("bundle nested objects", 2, root.BUNDLE, _bundle_text(lambda text: '{"a":' * 10_000)),
    Probe("bundle is no object", 2, root.BUNDLE, _bundle_text(lambda text: "17")),
    Probe("bundle is empty", 2, root.BUNDLE, _bundle_text(lambda text: "")),
    Probe(
        "bundle with a key twice",
        2,
        root.BUNDLE,
        _bundle_text(lambda text: text[:-1] + ',"mediaType":"x"}'),
    ),
    Probe("bundle with NaN", 2, root.BUNDLE, _bundle_text(lambda text: text[:-1] + ',"a":NaN}')),
    Probe("bundle with more", 2, root.BUNDLE, _bundle(lambda found: found.update(extra=1))),
    Probe(
        "bundle of another type",
        2,
        root.BUNDLE,
        _bundle(lambda found: found.update(mediaType="application/vnd.dev.sigstore.bundle+json")),
    ),
    Probe(
        "bundle with a hint of another key",
        2,
        root.BUNDLE,
        _bundle(lambda found: found["verificationMaterial"]["publicKey"].update(hint="AAAA")),
    ),
    Probe("bundle in loose base64", 2, root.BUNDLE, _bundle(_loose_base64)),
    Probe("bundle about an envelope", 2, root.BUNDLE, _dsse_instead),
    Probe("root too long", 1, root.ROOT, _signed_root(lambda data: data + b" " * (17 << 20))),
)
