"""Where everything lies in a bundle: metadata first, small before big.

  1. the seal: release.json, then the other files that it does not name, bytewise (checksums.txt,
     its signatures)
  2. bundle.json
  3. images/oci-layout, images/index.json, images/manifest.json as they were signed
  4. the manifests of all images and artifacts, at blobs/sha256/
  5. oci-layout, index.json, manifest.json for engines: derived, with the carried images only
  6. targets/, bytewise
  7. all the rest by size, then name; blobs at blobs/sha256/

Of the files of 6 and 7 a delta leaves out what the older release has, and carries recipe and data
in the place of a blob that is rebuilt.

`compose` is used by writer and reader alike; they differ in where `read` takes bytes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from packager.bundle.document import DELTA, BundleDocument, Delta
from packager.bundle.document import NAME as DESCRIPTION
from packager.bundle.members import Composition
from packager.carrying import (
    BLOBS,
    DOCKER_MANIFEST,
    INDEX,
    MAX_DOCUMENT,
    OCI_LAYOUT,
    Listing,
    carried,
    manifest_paths,
)
from packager.errors import VerificationError

ROOT = "release.json"
SIGNED_DOCUMENTS = (OCI_LAYOUT, INDEX, DOCKER_MANIFEST)
Read = Callable[[Composition, str], bytes]


def seal_order(names: Iterable[str]) -> list[str]:
    """The files that release.json does not name, itself first."""
    return sorted(names, key=lambda name: (name != ROOT, name.encode()))


def member_name(path: str) -> str:
    """Where a file of the release lies in a bundle: a bundle is an OCI layout at its root."""
    return path.removeprefix("images/") if path.startswith(BLOBS) else path


def compose(
    listing: Listing,
    document: BundleDocument,
    seal: Mapping[str, bytes],
    read: Read,
) -> Composition:
    """The composition of a bundle of `document.targets`.

    `seal` is what lies before bundle.json, by name. `read` gives the bytes of a file
    that the composition so far has placed; they are checked against the listing here. Raises
    VerificationError when the release is not what it must be to be bundled, or names such targets.
    """
    _refuse_unknown(listing, document)
    composition = Composition()
    try:
        for name in seal_order(seal):
            composition.add(name, len(seal[name]), path=name, data=seal[name])
        described = document.as_bytes()
        composition.add(DESCRIPTION, len(described), data=described)
        _add_listed(composition, listing, SIGNED_DOCUMENTS)

        def checked(path: str) -> bytes:
            found = composition.find(path)
            if found is None or found.size > MAX_DOCUMENT:
                raise VerificationError(
                    "a document is missing, or too long for what it is", where=path
                )
            return listing.checked(path, read(composition, path))

        _add_listed(composition, listing, manifest_paths(checked(INDEX)))
        travelling = carried(listing, document.targets, checked)
        for name, data in (
            ("oci-layout", checked(OCI_LAYOUT)),
            ("index.json", travelling.index),
            ("manifest.json", travelling.docker_manifest),
        ):
            composition.add(name, len(data), data=data)
        rest = _rest(composition, listing, travelling.files)
        if document.delta:
            _add_delta(composition, listing, rest, document.delta)
        else:
            _add_listed(composition, listing, rest)
    except ValueError as error:
        raise VerificationError(
            "the release cannot be bundled", where=document.name, got=str(error)
        ) from None
    return composition


def _add_listed(composition: Composition, listing: Listing, paths: Iterable[str]) -> None:
    for path in paths:
        if path not in listing.files:
            raise VerificationError("the release does not name this file", where=path)
        file = listing.files[path]
        composition.add(member_name(path), file.size, path=path, digest=file.digest)


def _add_delta(
    composition: Composition, listing: Listing, rest: Sequence[str], delta: Delta
) -> None:
    """What travels of the rest: all but what is kept, recipes in the places of what is rebuilt."""
    kept, rebuilt = set(delta.kept), {each.path: each for each in delta.rebuilt}
    foreign = (kept | rebuilt.keys()) - set(rest)
    if foreign or kept & rebuilt.keys() or len(rebuilt) != len(delta.rebuilt):
        raise ValueError(f"files that are not the delta's to leave out: {sorted(foreign)[:3]}")
    for path in rest:
        if path in rebuilt:
            for ending, file in (("recipe", rebuilt[path].recipe), ("data", rebuilt[path].data)):
                composition.add(delta_name(path, ending), file.size, digest=file.digest)
        elif path not in kept:
            _add_listed(composition, listing, [path])


def movable(composition: Composition) -> list[str]:
    """The files of a whole bundle that a delta may leave out."""
    names = [member.name for member in composition.members]
    behind = composition.members[names.index("manifest.json") + 1 :]
    return [member.path for member in behind if member.path]


def delta_name(path: str, ending: str) -> str:
    """Where the recipe or the data of a blob lie: `delta/HEX.recipe`."""
    return f"{DELTA}{path.rpartition('/')[2]}.{ending}"


def _rest(composition: Composition, listing: Listing, files: Iterable[str]) -> list[str]:
    left = [path for path in files if composition.find(path) is None]

    def order(path: str) -> tuple[bool, int, bytes]:
        in_targets = path.startswith("targets/")
        return (
            not in_targets,
            0 if in_targets else listing.files[path].size,
            member_name(path).encode(),
        )

    return sorted(left, key=order)


def _refuse_unknown(listing: Listing, document: BundleDocument) -> None:
    if document.digest != listing.digest:
        raise VerificationError(
            "the bundle describes another release than it holds",
            where=DESCRIPTION,
            expected=str(listing.digest),
            got=str(document.digest),
        )
    unknown = set(document.targets) - listing.images.keys()
    if unknown or (document.name, document.version) != (listing.name, listing.version):
        raise VerificationError(
            "the bundle says what its release does not",
            where=DESCRIPTION,
            expected=f"{listing.name} {listing.version}: {', '.join(sorted(listing.images))}",
            got=f"{document.name} {document.version}: {', '.join(document.targets)}"[:300],
        )
