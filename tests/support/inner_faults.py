"""Releases that are validly signed with the right key and wrong all the same.

What a careless or dishonest builder would make. The list of digests cannot catch them: the steps
that understand images, signatures and manifests must. Each `Fault` makes its own release.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard
from small_release import (
    SmallRelease,
    artifacts_of,
    change_root,
    evidence_of,
    make_release,
    sign_root,
)
from tampering import INDEX, MANIFEST
from tiny_images import edit_json

from packager.attest import cosign, root, sigstore
from packager.attest.cosign import (
    attestation_artifact,
    bundle_referrer,
    repository_of,
    signature_artifact,
    signature_referrer,
)
from packager.attest.keys import PublicKey, generate_key, open_signer
from packager.attest.statement import COSIGN_SIGN, CYCLONEDX, SLSA_PROVENANCE, Statement
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, MediaType


@dataclass(frozen=True)
class Fault:
    """`make(base, key)` builds and seals it in `base`; `step` must refuse it and say `what`.

    With `contents` only `verify --contents` sees it: all bytes are as the key's holder signed them,
    and every engine refuses to load them.
    """

    name: str
    step: int
    what: str
    make: Callable[[Path, Path], SmallRelease]
    contents: bool = False

    def __str__(self) -> str:
        return self.name


def _sealed(change: Callable[[Path, dict[str, Any]], object]) -> Callable[..., SmallRelease]:
    """The folder or the document is changed before it is sealed."""
    return lambda base, key: make_release(base, key_file=key, before_seal=change)


def _accompanied(make: Callable[..., Sequence[Artifact]]) -> Callable[..., SmallRelease]:
    """The images are accompanied by something else."""
    return lambda base, key: make_release(base, key_file=key, artifacts=make)


def _root(change: Callable[[dict[str, Any]], object]) -> Callable[..., SmallRelease]:
    """The root is changed and signed again."""

    def make(base: Path, key: Path) -> SmallRelease:
        release = make_release(base, key_file=key)
        change_root(release, change)
        return release

    return make


def _root_bytes(change: Callable[[bytes], bytes]) -> Callable[..., SmallRelease]:
    def make(base: Path, key: Path) -> SmallRelease:
        release = make_release(base, key_file=key)
        data = (release.folder / root.ROOT).read_bytes()
        sign_root(release.folder, change(data), release.signer)
        return release

    return make


def _first_file(**changes: object) -> Callable[..., SmallRelease]:
    return _root(lambda document: document["files"][0].update(changes))


def _first_image(**changes: object) -> Callable[..., SmallRelease]:
    return _root(lambda document: document["targets"][0]["image"].update(changes))


def _index(change: Callable[[list[dict[str, Any]]], object]) -> Callable[..., SmallRelease]:
    return _sealed(
        lambda folder, _: edit_json(folder / INDEX, lambda index: change(index["manifests"]))
    )


def _manifest(text: str) -> Callable[..., SmallRelease]:
    """Another text in the manifest of the first target; `{image}` is its pinned reference."""

    def change(folder: Path, document: dict[str, Any]) -> None:
        pinned = document["targets"][0]["image"]["pinned"]
        (folder / MANIFEST).write_text(text.format(image=pinned, repository=pinned.split("@")[0]))

    return _sealed(change)


def _with_layer(media_type: str, blob: bytes, plain: bytes) -> Callable[..., SmallRelease]:
    """The first image has one layer: `blob`, of which the configuration says it is `plain`."""

    def change(folder: Path, document: dict[str, Any]) -> None:
        blobs = folder / "images" / "blobs" / "sha256"
        image = document["targets"][0]["image"]
        config = json.loads((blobs / Digest.parse(image["config"]).hex).read_bytes())
        config["rootfs"]["diff_ids"] = [str(Digest.of(plain))]
        layer = _store(blobs, media_type, blob)
        stored = _store(blobs, MediaType.CONFIG, dumps(config))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": stored.as_dict(),
            "layers": [layer.as_dict()],
        }
        _replace_image(folder, document, manifest, stored, layer)

    return _sealed(change)


def _store(blobs: Path, media_type: str, data: bytes) -> Descriptor:
    digest = Digest.of(data)
    (blobs / digest.hex).write_bytes(data)
    return Descriptor(media_type, digest, len(data))


def _replace_image(
    folder: Path,
    document: dict[str, Any],
    manifest: dict[str, Any],
    config: Descriptor,
    layer: Descriptor,
) -> None:
    """Put an image of one layer in the place of the first one, wherever that is named."""
    blobs = folder / "images" / "blobs" / "sha256"
    image = document["targets"][0]["image"]
    stored = _store(blobs, MediaType.MANIFEST, dumps(manifest))

    def change(index: dict[str, Any]) -> None:
        for entry in index["manifests"]:
            if entry["digest"] == image["digest"]:
                entry |= stored.as_dict()

    edit_json(folder / INDEX, change)
    image |= {
        "digest": str(stored.digest),
        "config": str(config.digest),
        "size": stored.size + config.size + layer.size,
    }


def _stranger(base: Path):
    return open_signer(str(generate_key(base / "stranger.pem", None).private), {})


def _signature_by_stranger(base: Path, key: Path) -> SmallRelease:
    stranger = _stranger(base)

    def make(built, request, signer):
        repository = repository_of(built.image.reference)
        return [
            signature_artifact(built.image, repository, stranger),
            *artifacts_of(built, request, signer)[1:],
        ]

    return make_release(base, key_file=key, artifacts=make)


def _attestation_by_stranger(base: Path, key: Path) -> SmallRelease:
    stranger = _stranger(base)

    def make(built, request, signer):
        signature, _, *referrers = artifacts_of(built, request, signer)
        evidence = evidence_of(built, request)
        return [signature, attestation_artifact(built.image, evidence, stranger), *referrers]

    return make_release(base, key_file=key, artifacts=make)


def _referrer_by_stranger(base: Path, key: Path) -> SmallRelease:
    stranger = _stranger(base)

    def make(built, request, signer):
        *others, _ = artifacts_of(built, request, signer)
        body = evidence_of(built, request)[CYCLONEDX]
        return [*others, bundle_referrer(built.image, CYCLONEDX, body, stranger)]

    return make_release(base, key_file=key, artifacts=make)


def _elsewhere(built):
    """The image's value with another digest."""
    manifest = replace(built.image.manifest, digest=Digest.of(built.image.reference.encode()))
    return replace(built.image, manifest=manifest)


def _unsigned(built, request, signer):
    return artifacts_of(built, request, signer)[1:]


def _unsigned_as_bundle(built, request, signer):
    signature, classic, _, *referrers = artifacts_of(built, request, signer)
    return [signature, classic, *referrers]


def _bundle_signature_by_stranger(base: Path, key: Path) -> SmallRelease:
    stranger = _stranger(base)

    def make(built, request, signer):
        signature, classic, _, *referrers = artifacts_of(built, request, signer)
        return [signature, classic, signature_referrer(built.image, stranger), *referrers]

    return make_release(base, key_file=key, artifacts=make)


def _bundle_signature_of_other_image(built, request, signer):
    foreign = signature_referrer(_elsewhere(built), signer)
    return [*artifacts_of(built, request, signer), foreign]


def _attestation_as_signature(built, request, signer):
    """A provenance that calls itself a signature."""
    honest = bundle_referrer(
        built.image, SLSA_PROVENANCE, evidence_of(built, request)[SLSA_PROVENANCE], signer
    )
    annotations = {**honest.descriptor.annotations, cosign.PREDICATE_ANNOTATION: COSIGN_SIGN}
    lying = replace(honest, descriptor=replace(honest.descriptor, annotations=annotations))
    signature, classic, _, *referrers = artifacts_of(built, request, signer)
    return [signature, classic, lying, *(it for it in referrers if it.manifest != lying.manifest)]


def _signed_for_other_repository(built, request, signer):
    _, *others = artifacts_of(built, request, signer)
    return [signature_artifact(built.image, "registry.example.com/other", signer), *others]


def _signature_of_other_image(built, request, signer):
    repository = repository_of(built.image.reference)
    foreign = signature_artifact(_elsewhere(built), repository, signer)
    return [*artifacts_of(built, request, signer), foreign]


def _without_sbom(built, request, signer):
    signature, _, bundled, *_ = artifacts_of(built, request, signer)
    provenance = {SLSA_PROVENANCE: evidence_of(built, request)[SLSA_PROVENANCE]}
    return [signature, bundled, attestation_artifact(built.image, provenance, signer)]


def _unattested(built, request, signer):
    signature, _, bundled, *_ = artifacts_of(built, request, signer)
    return [signature, bundled]


def _attestation_of_other_image(built, request, signer):
    foreign = attestation_artifact(_elsewhere(built), evidence_of(built, request), signer)
    return [*artifacts_of(built, request, signer), foreign]


def _referrer_to_other_image(built, request, signer):
    """A referrer of this image whose statement is about another one."""
    kind, body = next(iter(evidence_of(built, request).items()))
    other = Statement("elsewhere", Digest.of(b"elsewhere"), kind, body).to_bytes()
    honest = bundle_referrer(built.image, kind, body, signer)
    bundle = sigstore.dsse_bundle(other, signer)
    manifest = json.loads(honest.manifest)
    layer = Descriptor(MediaType.SIGSTORE_BUNDLE, Digest.of(bundle), len(bundle))
    manifest["layers"] = [layer.as_dict()]
    data = dumps(manifest)
    descriptor = replace(honest.descriptor, digest=Digest.of(data), size=len(data))
    blobs = (honest.blobs[0], (layer.digest, bundle))
    dishonest = replace(honest, descriptor=descriptor, manifest=data, blobs=blobs)
    return [*artifacts_of(built, request, signer), dishonest]


def _mislabelled_referrer(built, request, signer):
    """Its annotation promises a bill of materials, and it holds a provenance."""
    kind, body = SLSA_PROVENANCE, evidence_of(built, request)[SLSA_PROVENANCE]
    honest = bundle_referrer(built.image, kind, body, signer)
    annotations = {**honest.descriptor.annotations, cosign.PREDICATE_ANNOTATION: CYCLONEDX}
    lying = replace(honest, descriptor=replace(honest.descriptor, annotations=annotations))
    signature, classic, bundled, *_ = artifacts_of(built, request, signer)
    return [signature, classic, bundled, lying]


def _with_stray_blob(folder: Path, document: dict[str, Any]) -> None:
    data = b"named by nothing"
    (folder / "images" / "blobs" / "sha256" / Digest.of(data).hex).write_bytes(data)


def _with_misnamed_blob(folder: Path, document: dict[str, Any]) -> None:
    (folder / "images" / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"some bytes")


def _without_layer(folder: Path, document: dict[str, Any]) -> None:
    """The index and the manifest are honest; the blob is in neither folder nor list."""
    blobs = folder / "images" / "blobs" / "sha256"
    image = document["targets"][0]["image"]
    manifest = json.loads((blobs / Digest.parse(image["digest"]).hex).read_bytes())
    (blobs / Digest.parse(manifest["layers"][1]["digest"]).hex).unlink()


def _swapped_manifests(folder: Path, document: dict[str, Any]) -> None:
    other = folder / "targets/sa/x86-64-v3/compose/workload.yaml"
    (folder / MANIFEST).write_text(other.read_text())


def _other_docker_image(folder: Path, document: dict[str, Any]) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        entries[0]["RepoTags"] = ["registry.example.com/somebody/else:1"]

    edit_json(folder / "images/manifest.json", change)


def _deep(data: bytes) -> bytes:
    return data[:-1] + b',"deep":' + b"[" * 40 + b"]" * 40 + b"}"


def _nested_without_end(data: bytes) -> bytes:
    return b"[" * 200_000


STRANGER_PEM = (
    b"-----BEGIN PUBLIC KEY-----\n"
    b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2r6XhB432kXWYe0u3fSibw6QIn0r\n"
    b"3pzlkjKPv45QPM2ytw85Q+7UQ/YvozFttzDFpu1BNNBFtejoV7X4vPxT/A==\n"
    b"-----END PUBLIC KEY-----\n"
)
STRANGER = root._signer_entry(PublicKey.of_pem(STRANGER_PEM, "here"))


def _name_stranger(document: dict[str, Any]) -> None:
    document["signers"].append(STRANGER)


def _name_only_stranger(document: dict[str, Any]) -> None:
    document["signers"] = [STRANGER]


BOMB = gzip.compress(bytes(8 << 20), 9, mtime=0)
ZSTD_BOMB = zstandard.ZstdCompressor(19).compress(bytes(8 << 20))
LAYER = b"a plain layer"

FAULTS: tuple[Fault, ...] = (
    # the root: step 3
    Fault("root not canonical", 3, "canonical", _root_bytes(lambda data: data + b"\n")),
    Fault("key twice", 3, "twice", _root_bytes(lambda data: b'{"kind":"x",' + data[1:])),
    Fault("root nested too deep", 3, "deep", _root_bytes(_deep)),
    Fault("root nested without end", 3, "deep", _root_bytes(_nested_without_end)),
    Fault("root is no object", 3, "object", _root_bytes(lambda data: b"[]")),
    Fault("root is not JSON", 3, "not JSON", _root_bytes(lambda data: data[:-1])),
    Fault("another kind", 3, "kind", _root(lambda found: found.update(kind="Bundle"))),
    Fault(
        "another apiVersion", 3, "apiVersion", _root(lambda found: found.update(apiVersion="v9"))
    ),
    Fault("path outside", 3, "path", _first_file(path="../outside")),
    Fault("absolute path", 3, "path", _first_file(path="/etc/passwd")),
    Fault("path of the seal", 3, "path", _first_file(path="release.sig")),
    Fault("size is a text", 3, "path, digest and size", _first_file(size="12")),
    Fault("size is true", 3, "whole number", _first_file(size=True)),
    Fault("negative size", 3, "whole number", _first_file(size=-1)),
    Fault("another digest", 3, "sha256", _first_file(digest="md5:00")),
    Fault("file with more", 3, "path, digest and size", _first_file(mode="0755")),
    Fault("file twice", 3, "twice", _root(lambda it: it["files"].append(it["files"][-1]))),
    Fault("files not sorted", 3, "sorted", _root(lambda found: found["files"].reverse())),
    Fault("no files", 3, "files", _root(lambda found: found.pop("files"))),
    Fault("no targets", 3, "targets", _root(lambda found: found.update(targets=[]))),
    Fault("target twice", 3, "targets", _root(lambda it: it["targets"].append(it["targets"][0]))),
    Fault(
        "target outside", 3, "platform", _root(lambda it: it["targets"][0].update(name="../x/y"))
    ),
    Fault("image without digest", 3, "image", _root(lambda it: it["targets"][0]["image"].clear())),
    Fault("no counter", 3, "counter", _root(lambda it: it["metadata"].pop("counter"))),
    Fault(
        "counter is true", 3, "whole number", _root(lambda it: it["metadata"].update(counter=True))
    ),
    Fault("no signers", 3, "signers", _root(lambda it: it["signers"].clear())),
    Fault("signer twice", 3, "signers", _root(lambda it: it["signers"].append(it["signers"][0]))),
    Fault(
        "signer of another name",
        3,
        "signer",
        _root(lambda it: it["signers"][0].update(algorithm="x")),
    ),
    # the signers: step 4
    Fault("signer that did not sign", 4, "missing", _root(_name_stranger)),
    Fault("named signer is another", 4, "another key", _root(_name_only_stranger)),
    # the list of files: steps 5 to 7
    Fault(
        "listed file is not there", 5, "missing", _root(lambda it: it["files"][0].update(path="a"))
    ),
    Fault("wrong size, right digest", 6, "size", _first_file(size=999_999)),
    Fault("count of checksums", 7, "list", _root(lambda it: it["checksums"].update(count=1))),
    Fault(
        "digest of checksums",
        7,
        "list",
        _root(
            lambda it: it["checksums"].update(
                digest=str(Digest.of(b"")),
            )
        ),
    ),
    # the images: step 8
    Fault("image not in the index", 8, "not in the index", _index(lambda found: found.pop(0))),
    Fault("image of another digest", 8, "index", _first_image(digest=str(Digest.of(b"x")))),
    Fault("image of another size", 8, "size", _first_image(size=1)),
    Fault("image of another config", 8, "configuration", _first_image(config=str(Digest.of(b"x")))),
    Fault(
        "image of another architecture",
        8,
        "architecture",
        _first_image(
            platform={"os": "linux", "architecture": "arm64"},
        ),
    ),
    Fault(
        "image of a variant",
        8,
        "variant",
        _first_image(
            platform={"os": "linux", "architecture": "amd64", "variant": "v3"},
        ),
    ),
    Fault(
        "index of another type",
        8,
        "image index",
        _sealed(
            lambda folder, _: edit_json(folder / INDEX, lambda it: it.update(mediaType="x/y")),
        ),
    ),
    Fault(
        "index names an index",
        8,
        "no image manifest",
        _index(
            lambda found: found[0].update(mediaType=MediaType.INDEX),
        ),
    ),
    Fault("index with a wrong size", 8, "descriptor", _index(lambda it: it[0].update(size=1))),
    Fault(
        "index names a missing blob",
        8,
        "missing",
        _index(
            lambda found: found.append(
                {**found[0], "digest": str(Digest.of(b"gone")), "annotations": {}}
            ),
        ),
    ),
    Fault(
        "index names a digest that is a path",
        8,
        "digest",
        _index(
            lambda found: found[0].update(digest="sha256:../../../../etc/passwd"),
        ),
    ),
    Fault(
        "two images of one name",
        8,
        "two images",
        _index(
            lambda it: it[1]["annotations"].update(it[0]["annotations"]),
        ),
    ),
    Fault("blob missing", 8, "missing", _sealed(_without_layer)),
    Fault("blob that nothing names", 8, "no manifest names", _sealed(_with_stray_blob)),
    Fault("blob under another name", 8, "not its digest", _sealed(_with_misnamed_blob)),
    Fault(
        "stray file in the layout",
        8,
        "does not belong",
        _sealed(
            lambda folder, _: (folder / "images/notes.txt").write_text("x"),
        ),
    ),
    Fault(
        "another layout version",
        8,
        "layout",
        _sealed(
            lambda folder, _: edit_json(
                folder / "images/oci-layout", lambda it: it.update(imageLayoutVersion="2.0.0")
            ),
        ),
    ),
    Fault("docker manifest of another image", 8, "other images", _sealed(_other_docker_image)),
    Fault(
        "layer unpacks to another",
        8,
        "something else",
        _with_layer(
            MediaType.LAYER_GZIP,
            gzip.compress(LAYER, mtime=0),
            b"promised",
        ),
        contents=True,
    ),
    Fault(
        "plain layer is another",
        8,
        "something else",
        _with_layer(
            MediaType.LAYER_TAR,
            LAYER,
            b"promised",
        ),
    ),
    Fault(
        "layer is no gzip",
        8,
        "unpacked",
        _with_layer(MediaType.LAYER_GZIP, LAYER, LAYER),
        contents=True,
    ),
    Fault(
        "layer is cut",
        8,
        "unpacked",
        _with_layer(
            MediaType.LAYER_GZIP,
            gzip.compress(os.urandom(999), mtime=0)[:-20],
            LAYER,
        ),
        contents=True,
    ),
    Fault(
        "layer is a bomb",
        8,
        "unpacks to more than",
        _with_layer(
            MediaType.LAYER_GZIP,
            BOMB,
            bytes(8 << 20),
        ),
        contents=True,
    ),
    Fault(
        "layer is a zstd bomb",
        8,
        "unpacks to more than",
        _with_layer(MediaType.LAYER_ZSTD, ZSTD_BOMB, bytes(8 << 20)),
        contents=True,
    ),
    Fault(
        "layer calls itself gzip and is zstd",
        8,
        "unpacked",
        _with_layer(MediaType.LAYER_GZIP, zstandard.compress(LAYER), LAYER),
        contents=True,
    ),
    Fault(
        "layer calls itself plain and is gzip",
        8,
        "something else",
        _with_layer(MediaType.LAYER_TAR, gzip.compress(LAYER, mtime=0), LAYER),
    ),
    Fault(
        "layer of a type not used",
        8,
        "not a kind of layer",
        _with_layer(
            "application/vnd.example.layer.v1.tar+lz4",
            LAYER,
            LAYER,
        ),
    ),
    # signatures of images: step 9
    Fault("image not signed", 9, "not signed", _accompanied(_unsigned)),
    Fault("image signed by a stranger", 9, "does not verify", _signature_by_stranger),
    Fault(
        "image signed for elsewhere", 9, "not signed", _accompanied(_signed_for_other_repository)
    ),
    Fault(
        "signature of a foreign image",
        9,
        "not in this release",
        _accompanied(
            _signature_of_other_image,
        ),
    ),
    Fault("image not signed as bundle", 9, "form of a bundle", _accompanied(_unsigned_as_bundle)),
    Fault("bundle signed by a stranger", 9, "does not verify", _bundle_signature_by_stranger),
    Fault(
        "bundle signature of a foreign image",
        9,
        "not in this release",
        _accompanied(_bundle_signature_of_other_image),
    ),
    Fault("provenance as signature", 9, "does not verify", _accompanied(_attestation_as_signature)),
    # attestations: step 10
    Fault("image without SBOM", 10, "lacks", _accompanied(_without_sbom)),
    Fault("image without evidence", 10, "lacks", _accompanied(_unattested)),
    Fault("attested by a stranger", 10, "does not verify", _attestation_by_stranger),
    Fault("referrer by a stranger", 10, "does not verify", _referrer_by_stranger),
    Fault(
        "attestation of a foreign image",
        10,
        "not in this release",
        _accompanied(
            _attestation_of_other_image,
        ),
    ),
    Fault(
        "referrer about another image",
        10,
        "does not verify",
        _accompanied(
            _referrer_to_other_image,
        ),
    ),
    Fault(
        "referrer under a false label", 10, "does not verify", _accompanied(_mislabelled_referrer)
    ),
    # manifests: step 11
    Fault("manifest by tag", 11, "another image", _manifest("image: {repository}:latest\n")),
    Fault(
        "manifest of another registry",
        11,
        "another image",
        _manifest(
            "image: docker.example.com/filetype@sha256:" + "0" * 64,
        ),
    ),
    Fault(
        "second image in flow style",
        11,
        "another image",
        _manifest(
            "containers: [{{image: {image}}}, {{'image': sidecar}}]\n",
        ),
    ),
    Fault(
        "second image in JSON",
        11,
        "another image",
        _manifest(
            '{{"a": {{"image": "{image}"}}, "b": {{"image": "evil"}}}}',
        ),
    ),
    Fault("manifest of another target", 11, "another image", _sealed(_swapped_manifests)),
    Fault(
        "target without files",
        11,
        "no files",
        _sealed(
            # All that it brought, whatever else lies beside its manifest.
            lambda folder, _: shutil.rmtree((folder / MANIFEST).parents[2]),
        ),
    ),
)
