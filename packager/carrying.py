"""Which files of a release travel when only some of its targets do.

One rule, used by whoever makes a bundle and by whoever verifies one, so that a bundle for one
country is a closed world too: everything travels but

  - the folders `targets/<target>/` of targets that stay behind,
  - evidence about them alone: files whose name begins with their slug and a dot,
  - indexes over images of several architectures, unless all their images travel,
  - blobs that none of the travelling images and charts needs. One of these needs its manifest,
    configuration and layers, and those of the artifacts about it: signatures and attestations. All
    *manifests* travel, so that the reader can follow this rule without the rest; artifacts about
    nothing of the release travel with everyone.

Adding or leaving out anything else is refused. What may be missing follows from the signed release
and the names of the targets alone (docs/adr/0020).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError

INDEX = "images/index.json"
DOCKER_MANIFEST = "images/manifest.json"
OCI_LAYOUT = "images/oci-layout"
BLOBS = "images/blobs/sha256/"
MAX_ROOT = 16 << 20
MAX_DOCUMENT = 4 << 20
_REFERENCE_NAME = "org.opencontainers.image.ref.name"
_TAG_ANNOTATION = "dev.packager.tag"
_COSIGN_TAG = re.compile(r"sha256-([0-9a-f]{64})\.\w+")
Read = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A payload file: its digest and its size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class ListedImage:
    """A target's image: `registry/name:tag`, the digest of its manifest, and that of its chart's
    where it has one."""

    reference: str
    manifest: Digest
    chart: Digest | None = None

    @property
    def manifests(self) -> frozenset[Digest]:
        """What of the layout is this target's."""
        return frozenset([self.manifest, *([self.chart] if self.chart else [])])


@dataclass(frozen=True, slots=True)
class ListedIndex:
    """An index over images of several architectures: the digest of its bytes, and its targets."""

    manifest: Digest
    targets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listing:
    """What `release.json` names. Parsing is not believing: its signature is checked elsewhere."""

    name: str
    version: str
    digest: Digest
    files: Mapping[str, ListedFile]
    images: Mapping[str, ListedImage]
    indexes: tuple[ListedIndex, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Listing:
        """Read `release.json`; raises VerificationError when it is not of the known shape."""
        try:
            if len(data) > MAX_ROOT:
                raise ValueError(f"longer than {MAX_ROOT} bytes")
            document = json.loads(data)
            return cls(
                str(document["metadata"]["name"]),
                str(document["metadata"]["version"]),
                Digest.of(data),
                {
                    str(entry["path"]): ListedFile(Digest.parse(entry["digest"]), entry["size"])
                    for entry in document["files"]
                },
                {
                    str(entry["name"]): ListedImage(
                        str(entry["image"]["reference"]),
                        Digest.parse(entry["image"]["digest"]),
                        Digest.parse(entry["chart"]["digest"]) if "chart" in entry else None,
                    )
                    for entry in document["targets"]
                },
                tuple(
                    ListedIndex(Digest.parse(entry["digest"]), frozenset(entry["targets"]))
                    for entry in document.get("indexes", ())
                ),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _not_understood("release.json", error) from None

    def checked(self, path: str, data: bytes) -> bytes:
        """`data` when it is what the release names at `path`; raises VerificationError."""
        listed = self.files.get(path)
        if listed is None:
            raise VerificationError("the release does not name this file", where=path)
        if Digest.of(data) != listed.digest:
            raise VerificationError("the content differs", where=path, expected=str(listed.digest))
        return data


@dataclass(frozen=True, slots=True)
class Carried:
    """What travels with `targets`: paths of the release, and the two lists of images as engines
    must see them, `index` (OCI) and `docker_manifest`, which name the travelling images only."""

    targets: tuple[str, ...]
    files: frozenset[str]
    manifests: tuple[str, ...]
    index: bytes
    docker_manifest: bytes


def manifest_paths(index: bytes) -> tuple[str, ...]:
    """The manifests that `images/index.json` names, as paths of the release, sorted."""
    return tuple(sorted({_blob(entry["digest"]) for entry in _entries(index)}))


def carried(listing: Listing, targets: Collection[str], read: Read) -> Carried:
    """Follow the rule for `targets`, which the listing must name.

    `read` gives a listed file's bytes; it is asked for the index, Docker's list and the manifests,
    and must have checked them against the listing. Raises VerificationError.
    """
    index = read(INDEX)
    entries = _entries(index)
    chosen = {name: listing.images[name] for name in sorted(targets)}
    references = {image.reference for image in chosen.values()}
    carried_images = {image.manifest for image in chosen.values()}
    all_images = {image.manifest for image in listing.images.values()}
    travelling = {one for image in chosen.values() for one in image.manifests}
    known = {one for image in listing.images.values() for one in image.manifests}
    known |= {index.manifest for index in listing.indexes}
    travelling |= {index.manifest for index in listing.indexes if index.targets <= chosen.keys()}
    needed: set[str] = set()
    kept_entries = []
    configurations = set()
    for entry in entries:
        path = _blob(entry["digest"])
        document = _document(read(path), path)
        needed.add(path)
        owner = _owner(entry, document, path, known)
        if owner is not None and owner not in travelling:
            continue
        needed.update(_members(document, path))
        named = entry.get("annotations", {}).get(_REFERENCE_NAME)
        if Digest.parse(entry["digest"]) not in all_images or named in references:
            kept_entries.append(entry)
        if Digest.parse(entry["digest"]) in carried_images:
            configurations.add(_blob(document["config"]["digest"]).removeprefix("images/"))
    stays = [name for name in listing.images if name not in chosen]
    files = frozenset(
        path
        for path in listing.files
        if (path in needed if path.startswith(BLOBS) else not _belongs(path, stays, chosen))
    )
    document = _document(index, INDEX)
    return Carried(
        tuple(chosen),
        files,
        manifest_paths(index),
        dumps({**document, "manifests": kept_entries}),
        dumps(_docker_entries(read(DOCKER_MANIFEST), configurations, references)),
    )


def _owner(
    entry: Mapping[str, Any], document: Mapping[str, Any], path: str, images: Collection[Digest]
) -> Digest | None:
    """The image or chart that a manifest is, or is about; None when it is about none of these."""
    try:
        own = Digest.parse(entry["digest"])
        if own in images:
            return own
        if "subject" in document:
            about = Digest.parse(document["subject"]["digest"])
        elif tag := _COSIGN_TAG.fullmatch(entry.get("annotations", {}).get(_TAG_ANNOTATION, "")):
            about = Digest(tag[1])
        else:
            return None
    except (ValueError, KeyError, TypeError) as error:
        raise _not_understood(path, error) from None
    return about if about in images else None


def _members(document: Mapping[str, Any], path: str) -> list[str]:
    if document.get("mediaType") == MediaType.INDEX:
        return []  # its images are members of the layout themselves
    try:
        named = [document["config"], *document["layers"]]
        return [_blob(member["digest"]) for member in named]
    except (ValueError, KeyError, TypeError) as error:
        raise _not_understood(path, error) from None


def _belongs(path: str, stays: Collection[str], travels: Collection[str]) -> bool:
    """Whether a file is about targets that stay behind, and about none that travels."""
    return _about(path, stays) and not _about(path, travels)


def _about(path: str, targets: Collection[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        path.startswith(f"targets/{target}/")
        or (path.startswith("evidence/") and name.startswith(f"{_slug(target)}."))
        for target in targets
    )


def _slug(target: str) -> str:
    return target.replace("/", "-")


def _docker_entries(
    data: bytes, configurations: Collection[str], references: Collection[str]
) -> list[Any]:
    found = _json(data, DOCKER_MANIFEST)
    try:
        return [
            entry
            for entry in found
            if entry["Config"] in configurations and set(entry["RepoTags"]) <= set(references)
        ]
    except (KeyError, TypeError) as error:
        raise _not_understood(DOCKER_MANIFEST, error) from None


def _entries(index: bytes) -> list[dict[str, Any]]:
    entries = _document(index, INDEX).get("manifests")
    if not isinstance(entries, list):
        raise _not_understood(INDEX, ValueError("no list of manifests"))
    try:
        for entry in entries:
            Digest.parse(entry["digest"])
            if not isinstance(entry.get("annotations", {}), dict):
                raise ValueError("annotations are no object")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_understood(INDEX, error) from None
    return entries


def _document(data: bytes, where: str) -> dict[str, Any]:
    found = _json(data, where)
    if not isinstance(found, dict):
        raise _not_understood(where, ValueError("not a JSON object"))
    return found


def _json(data: bytes, where: str) -> Any:
    try:
        if len(data) > MAX_DOCUMENT:
            raise ValueError(f"longer than {MAX_DOCUMENT} bytes")
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_understood(where, error) from None


def _blob(digest: Any) -> str:
    return f"{BLOBS}{Digest.parse(digest).hex}"


def _not_understood(where: str, error: Exception) -> VerificationError:
    return VerificationError(
        "it cannot be understood", where=where, got=f"{type(error).__name__}: {str(error)[:200]}"
    )
