"""The layers of an image in a registry, each read once and stored nowhere: step 6."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, cast

from packager.attest.hashing import workers
from packager.attest.image_store import ImageStore
from packager.attest.layout_index import ManifestDocument, Member
from packager.attest.unpacking import (
    COMPRESSED,
    content_finding,
    form_finding,
    plain_digest,
)
from packager.decompression import DAMAGE
from packager.digest import CHUNK, Digest
from packager.errors import Finding, VerificationError
from packager.progress import Progress


def check_layers(
    store: ImageStore,
    image: ManifestDocument,
    config: Mapping[str, Any],
    progress: Progress,
    *,
    contents: bool = False,
) -> dict[str, int]:
    """Reads and hashes every layer; with `contents`, unpacks them at the same time."""
    diff_ids = [Digest.parse(text) for text in config["rootfs"]["diff_ids"]]
    pairs = sorted(
        zip(image.layers, diff_ids, strict=True), key=lambda pair: (-pair[0].size, pair[0].digest)
    )
    total, done = sum(layer.size for layer in image.layers), 0
    findings = []
    with ThreadPoolExecutor(min(4, workers()), thread_name_prefix="layer") as pool:
        checks = pool.map(lambda pair: _layer_finding(store, pair[0], pair[1], contents), pairs)
        for (layer, _), finding in zip(pairs, checks, strict=True):
            done += layer.size
            progress.advance(f"layer {layer.digest}", done, total)
            findings += [finding] if finding else []
    if findings:
        raise VerificationError.of(findings)
    unpacked = sum(layer.media_type in COMPRESSED for layer in image.layers) if contents else 0
    return {"layers": len(pairs), "unpacked": unpacked, "bytes": total}


def _layer_finding(
    store: ImageStore, layer: Member, diff_id: Digest, contents: bool
) -> Finding | None:
    """Reads a layer once: what comes is hashed, and unpacked at the same time when asked."""
    where = str(layer.digest)
    with store.blob(layer.digest) as stream:
        counted = _Counted(stream, layer.size)
        found: Digest | None = None
        problem = None
        try:
            if contents and layer.media_type in COMPRESSED:
                found = plain_digest(cast(BinaryIO, counted), layer.size, layer.media_type)
        except (OSError, *DAMAGE) as error:
            problem = str(error)
        counted.drain()
    if counted.size != layer.size:
        return Finding("the size differs", where, f"{layer.size} bytes", f"{counted.size} bytes")
    if counted.digest != layer.digest:
        return Finding("the content differs", where, where, str(counted.digest))
    if problem:
        return Finding("the layer cannot be unpacked", where, got=problem)
    if found:
        return content_finding(found, diff_id, where)
    return form_finding(layer, diff_id, where)


class _Counted:
    """A stream that is hashed as it is read, and never further than one byte past its size."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._left = size + 1
        self._sha = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        return Digest(self._sha.hexdigest())

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(self._left if count < 0 else min(count, self._left))
        self._sha.update(data)
        self._left -= len(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self._left > 0 and self.read(CHUNK):
            pass
