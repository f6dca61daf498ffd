"""The chart of a Helm target, packed in the layout, against the target's own files.

What Helm installs from a registry must be what the release shows in `targets/`, to the last byte.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from packager.attest.layout_index import ManifestDocument, read_manifests, read_member
from packager.attest.root import ImageBinding
from packager.attest.signed_release import SignedRelease
from packager.decompression import DAMAGE, plain
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding, VerificationError

MAX_CHART = 16 << 20
_TARGETS = "targets"


def chart_findings(release: SignedRelease) -> Iterator[Finding]:
    """What is wrong with the charts that the root names; nothing when all are as they should be."""
    bound = [image for image in release.root.images if image.chart]
    if not bound:
        return
    manifests = {document.member.digest: document for document in read_manifests(release)}
    for image in bound:
        document = manifests.get(image.chart.manifest) if image.chart else None
        where = f"{image.target}: chart"
        if document is None:
            yield Finding("the chart is not in the index", where)
            continue
        try:
            yield from _differences(release, image, document)
        except VerificationError as error:
            yield from error.findings
        except (tarfile.TarError, *DAMAGE) as error:
            yield Finding("the chart cannot be unpacked", where, got=str(error)[:200])


def _differences(
    release: SignedRelease, image: ImageBinding, document: ManifestDocument
) -> Iterator[Finding]:
    types = [member.media_type for member in (document.config, *document.layers)]
    if types != [MediaType.HELM_CONFIG, MediaType.HELM_CHART] or document.subject:
        raise VerificationError(
            "it is no chart, or more than one",
            where=document.member.path,
            expected=f"{MediaType.HELM_CONFIG}, {MediaType.HELM_CHART}",
            got=", ".join(types)[:300],
        )
    prefix = f"{_TARGETS}/{image.target}/"
    listed = {
        path.removeprefix(prefix): file.digest
        for path, file in release.listed.items()
        if path.startswith(prefix)
    }
    packed = _unpacked(read_member(release, document.layers[0], MAX_CHART))
    for name in sorted({*listed, *packed}):
        if listed.get(name) != packed.get(name):
            yield Finding(
                "the packed chart is not the target's folder",
                f"{prefix}{name}",
                str(listed.get(name, "no such file")),
                str(packed.get(name, "no such file")),
            )


def _unpacked(data: bytes) -> dict[str, Digest]:
    """Path below the chart's folder → digest. Raises ValueError for what a chart does not hold."""
    stream = plain(io.BytesIO(data), MediaType.LAYER_GZIP, len(data))
    text = stream.read(MAX_CHART + 1) if stream else b""
    if len(text) > MAX_CHART:
        raise ValueError(f"it unpacks to more than {MAX_CHART} bytes")
    found: dict[str, Digest] = {}
    folders: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(text), mode="r:") as archive:
        for entry in archive:
            folder, _, name = entry.name.partition("/")
            folders.add(folder)
            if entry.isdir():
                continue
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None or not name or name in found:
                raise ValueError(f"not a plain file of its own: {entry.name[:200]}")
            found[name] = Digest.of(content.read())
    if len(folders) != 1:
        raise ValueError("not exactly one folder")
    return found
