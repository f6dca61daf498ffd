"""Writes layers, each once, and finds them again by what they were made from.

A layer whose content key was written before is taken from the store: neither its entries are made
nor its tar written. The store's record of it is only a hint where to look; the blob is believed
after its own digest was checked, and written anew when it is not what its name says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager.canonical import SourceDateEpoch, dumps
from packager.content import Compression, LayerContent
from packager.digest import Digest
from packager.domain.artifact import Descriptor, Layer, MediaType
from packager.oci import gzip_stream, zstd_stream
from packager.oci.blobs import BlobFolder, IncomingBlob
from packager.oci.gzip_stream import GzipStream
from packager.oci.tar_sink import Sink, write_tar_to
from packager.oci.zstd_stream import ZstdStream
from packager.workspace import write_atomically

KIND_ANNOTATION = "dev.packager.layer"
_WRITER = 1  # grows when the bytes of a layer would change for the same content
_MEDIA_TYPES = {
    Compression.NONE: MediaType.LAYER_TAR,
    Compression.GZIP: MediaType.LAYER_GZIP,
    Compression.ZSTD: MediaType.LAYER_ZSTD,
}
_IMPLEMENTATIONS = {
    Compression.NONE: None,
    Compression.GZIP: gzip_stream.IMPLEMENTATION,
    Compression.ZSTD: zstd_stream.IMPLEMENTATION,
}


@dataclass(frozen=True, slots=True)
class _Written:
    """What is known of a layer once it is written."""

    digest: Digest
    size: int
    diff_id: Digest


class LayerStore:
    """Layers in a folder of the cache, shared by all builds; safe for several at a time."""

    def __init__(self, folder: Path, epoch: SourceDateEpoch) -> None:
        self.blobs = BlobFolder(folder / "blobs")
        self._records = folder / "records"
        self._epoch = epoch

    def write(self, content: LayerContent) -> Layer:
        """The layer of `content`, from the store when it holds it whole. Raises OutputError."""
        record = self._record_path(content)
        known = _read_record(record)
        if known is None or not self.blobs.holds(known.digest, known.size):
            known = self._write_blob(content)
            write_atomically(record, _record_bytes(known))
        return Layer(
            kind=content.kind,
            descriptor=Descriptor(
                _MEDIA_TYPES[content.compression],
                known.digest,
                known.size,
                annotations={KIND_ANNOTATION: content.kind},
            ),
            diff_id=known.diff_id,
            blob=self.blobs.path(known.digest),
            created_by=content.created_by,
        )

    def _write_blob(self, content: LayerContent) -> _Written:
        with self.blobs.incoming() as blob, _compressing(blob, content.compression) as sink:
            of_tar = write_tar_to(
                sink,
                content.entries(),
                mtime=self._epoch.seconds,
                hashing=content.compression is not Compression.NONE,
            )
        return _Written(blob.digest, blob.size, of_tar or blob.digest)

    def _record_path(self, content: LayerContent) -> Path:
        made_from = {
            "content": str(content.key),
            "compression": content.compression.value,
            "epoch": self._epoch.seconds,
            "writer": _WRITER,
            "implementation": _IMPLEMENTATIONS[content.compression],
        }
        return self._records / f"{Digest.of(dumps(made_from)).hex}.json"


@contextmanager
def _compressing(blob: IncomingBlob, compression: Compression) -> Iterator[Sink]:
    match compression:
        case Compression.NONE:
            yield blob
        case Compression.GZIP:
            with GzipStream(blob) as stream:
                yield stream
        case Compression.ZSTD:
            with ZstdStream(blob) as packed:
                yield packed


def _record_bytes(written: _Written) -> bytes:
    return dumps(
        {
            "digest": str(written.digest),
            "size": written.size,
            "diff_id": str(written.diff_id),
        }
    )


def _read_record(path: Path) -> _Written | None:
    """A record that cannot be read is as good as none: the layer is written anew."""
    try:
        known = json.loads(path.read_bytes())
        return _Written(
            Digest.parse(known["digest"]), int(known["size"]), Digest.parse(known["diff_id"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
