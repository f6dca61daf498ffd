"""A chart as an OCI artifact: Helm's media types, and the same bytes each time."""

import gzip
import io
import json
import tarfile

from packager.canonical import SourceDateEpoch
from packager.digest import Digest
from packager.oci.chart import chart_archive, chart_artifact

METADATA = {"apiVersion": "v2", "name": "filetype", "version": "1.4.0", "description": "A chart"}
FILES = {
    "Chart.yaml": b"apiVersion: v2\n",
    "values.yaml": b"{}\n",
    "templates/service.yaml": b"kind: Service\n",
}
EPOCH = SourceDateEpoch(1767225600)


def test_the_manifest_is_as_helm_pushes_one():
    artifact = chart_artifact(METADATA, FILES, EPOCH)
    manifest = json.loads(artifact.manifest)
    blobs = {str(digest): data for digest, data in artifact.blobs}
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert json.loads(blobs[manifest["config"]["digest"]]) == METADATA
    assert len(blobs[layer["digest"]]) == layer["size"]
    assert manifest["annotations"] == {
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
        "org.opencontainers.image.description": "A chart",
        "org.opencontainers.image.title": "filetype",
        "org.opencontainers.image.version": "1.4.0",
    }
    assert "subject" not in manifest
    assert artifact.descriptor.digest == Digest.of(artifact.manifest)


def test_the_archive_holds_the_files_below_the_charts_name():
    packed = chart_archive("filetype", FILES, EPOCH)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        read = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}
        owners = {(one.uid, one.gid, one.uname, one.mtime) for one in archive}
    assert read == {f"filetype/{name}": data for name, data in FILES.items()}
    assert owners == {(0, 0, "", 1767225600)}


def test_the_order_of_the_files_changes_no_byte():
    other = dict(reversed(FILES.items()))
    assert chart_artifact(METADATA, FILES, EPOCH) == chart_artifact(METADATA, other, EPOCH)
