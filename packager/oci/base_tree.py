"""The file system of a base, as its layers make it: names, kinds, and a few small files.

Layers are read as streams, lowest first; nothing is unpacked to a disk. What is in them is hostile:
paths that lead out, bombs, endless lists are refused by name, and each layer must unpack to the
diff_id that the base's configuration promises. Whiteouts hide what lies below (image-spec, "Image
Layer Filesystem Changeset").
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from packager.decompression import DAMAGE, plain
from packager.digest import CHUNK, Digest
from packager.domain.artifact import Layer
from packager.domain.base import BaseTree, Leaf, Node
from packager.errors import LockError

MAX_ENTRIES = 2_000_000
MAX_DEPTH = 128
MAX_KEPT = 64 << 20  # of the small files together
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


def read_tree(layers: Sequence[Layer], wanted: Callable[[str], bool]) -> BaseTree:
    """The tree of `layers`; the bytes of files whose path is `wanted` are kept.

    Raises LockError for a layer that is no tar, unpacks to something else than promised, or holds
    what no layer may.
    """
    tree = BaseTree()
    budget = _Budget()
    for layer in layers:
        with layer.blob.open("rb") as blob:
            unpacked = plain(blob, layer.descriptor.media_type, layer.descriptor.size)
            if unpacked is None:
                raise ValueError(layer.descriptor.media_type)
            stream = _Hashed(unpacked)
            try:
                _apply(tree, stream, layer, wanted, budget)
                stream.drain()
            except (tarfile.TarError, OSError, *DAMAGE) as error:
                raise _refused(layer, f"it cannot be unpacked: {error}"[:200]) from error
        if stream.digest != layer.diff_id:
            raise LockError(
                "a layer of the base unpacks to something else",
                where=f"{layer.kind}, {layer.descriptor.digest}",
                expected=str(layer.diff_id),
                got=str(stream.digest),
                next_step="do not use this base",
            )
    return tree


@dataclass(slots=True)
class _Budget:
    entries: int = MAX_ENTRIES
    kept: int = MAX_KEPT


def _apply(
    tree: BaseTree,
    stream: _Hashed,
    layer: Layer,
    wanted: Callable[[str], bool],
    budget: _Budget,
) -> None:
    """Whiteouts are about the layers below only, so what a layer adds is put in after them."""
    added: list[tuple[list[str], Node]] = []
    with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", bufsize=CHUNK) as archive:
        for member in archive:
            budget.entries -= 1
            if budget.entries < 0:
                raise _refused(layer, f"more than {MAX_ENTRIES} entries")
            parts = _parts(member.name, layer)
            if not parts:
                continue
            name = parts[-1]
            if name == _OPAQUE:
                folder = tree.at("/".join(parts[:-1])) if parts[:-1] else tree.root
                if isinstance(folder, dict):
                    folder.clear()
            elif name.startswith(_WHITEOUT):
                _remove(tree, [*parts[:-1], name.removeprefix(_WHITEOUT)])
            else:
                added.append((parts, _node(archive, member, wanted("/".join(parts)), budget)))
    for parts, node in added:
        _put(tree, parts, node)


def _node(archive: tarfile.TarFile, member: tarfile.TarInfo, keep: bool, budget: _Budget) -> Node:
    if member.isdir():
        return {}
    if member.issym():
        return Leaf(target=member.linkname)
    if keep and member.isreg() and member.size <= budget.kept:
        source = archive.extractfile(member)
        if source is not None:
            budget.kept -= member.size
            return Leaf(content=source.read())
    return Leaf()


def _put(tree: BaseTree, parts: list[str], node: Node) -> None:
    folder = tree.root
    for part in parts[:-1]:
        below = folder.get(part)
        if not isinstance(below, dict):
            below = folder[part] = {}
        folder = below
    there = folder.get(parts[-1])
    if not (isinstance(node, dict) and isinstance(there, dict)):
        folder[parts[-1]] = node


def _remove(tree: BaseTree, parts: list[str]) -> None:
    folder = tree.at("/".join(parts[:-1])) if parts[:-1] else tree.root
    if isinstance(folder, dict):
        folder.pop(parts[-1], None)


def _parts(name: str, layer: Layer) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or len(parts) > MAX_DEPTH:
        raise _refused(layer, f"a path that leads out of it or is too deep: {name[:200]!r}")
    return parts


def _refused(layer: Layer, got: str) -> LockError:
    return LockError(
        "a layer of the base cannot be used",
        where=f"{layer.kind}, {layer.descriptor.digest}",
        got=got,
        next_step="name another base, or get it again from its maker",
    )


class _Hashed:
    """What comes out of a layer, hashed as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sha = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        return Digest(self._sha.hexdigest())

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if size >= 0 else CHUNK)
        self._sha.update(data)
        return data

    def drain(self) -> None:
        while self.read(CHUNK):
            pass
