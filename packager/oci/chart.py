"""A Helm chart as an OCI artifact, as `helm push` would make it (Helm, "Use OCI-based registries").

The configuration is what `Chart.yaml` says, the one layer is the chart as `helm package` lays it
out: everything below a folder of the chart's name, gzipped. Same files and epoch, same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from packager.archive import Entry
from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest
from packager.domain.artifact import Artifact, Descriptor, MediaType, Platform
from packager.oci.gzip_stream import GzipStream
from packager.oci.tar_sink import write_tar_to

_ANNOTATION = "org.opencontainers.image"
# Runtimes pick members of an index by platform; a chart is for none.
_NO_PLATFORM = Platform("unknown", "unknown")


def chart_artifact(
    metadata: Mapping[str, Any], files: Mapping[str, bytes], epoch: SourceDateEpoch
) -> Artifact:
    """The artifact of a chart: `metadata` is `Chart.yaml` read, `files` are all files by path."""
    content = chart_archive(str(metadata["name"]), files, epoch)
    config = dumps(dict(metadata))
    annotations = {
        f"{_ANNOTATION}.created": epoch.rfc3339(),
        f"{_ANNOTATION}.description": str(metadata.get("description", "")),
        f"{_ANNOTATION}.title": str(metadata["name"]),
        f"{_ANNOTATION}.version": str(metadata["version"]),
    }
    manifest = dumps(
        {
            "schemaVersion": 2,
            "mediaType": MediaType.MANIFEST,
            "config": _descriptor(MediaType.HELM_CONFIG, config).as_dict(),
            "layers": [_descriptor(MediaType.HELM_CHART, content).as_dict()],
            "annotations": annotations,
        }
    )
    descriptor = Descriptor(
        MediaType.MANIFEST,
        Digest.of(manifest),
        len(manifest),
        annotations,
        _NO_PLATFORM,
        MediaType.HELM_CONFIG,
    )
    blobs = tuple((Digest.of(data), data) for data in (config, content))
    return Artifact(descriptor, manifest, blobs)


def chart_archive(name: str, files: Mapping[str, bytes], epoch: SourceDateEpoch) -> bytes:
    """The chart as one `.tgz`, which Helm installs as it is."""
    packed = BytesIO()
    entries = [Entry.of_bytes(f"{name}/{path}", data) for path, data in files.items()]
    with GzipStream(packed, threads=1) as stream:
        write_tar_to(stream, entries, mtime=epoch.seconds)
    return packed.getvalue()


def _descriptor(media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(data), len(data))
