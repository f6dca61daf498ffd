"""What of a release need not travel because an older one has it: by file, then within weights.

First level: a file whose bytes the old release has, under whatever path, is kept. Second: a big
blob that is not compressed is matched with the old ones; it is rebuilt when its recipe and new
bytes are a good deal smaller than itself. Compressed layers are not tried: one changed byte changes
all that follow it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from packager.bundle.composing import ROOT, delta_name
from packager.bundle.document import Delta, Rebuilt
from packager.bundle.matching import ChunkIndex, OldBlob, match
from packager.bundle.reading import BUFFER
from packager.bundle.rebuilding import RecipeStream
from packager.bundle.recipe import MAX_RECIPE, Recipe, Run
from packager.carrying import BLOBS, MAX_ROOT, ListedFile, Listing
from packager.digest import CHUNK, Digest
from packager.progress import Progress
from packager.release_source import Files, ReleaseSource, read_bounded

# Smaller blobs travel whole: a recipe would save little and be one more thing to go wrong.
WORTH_MATCHING = 1 << 20
# Rebuilding reads the old blob too, so it must save this share at least.
WORTH_REBUILDING = 0.9
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class FreshBytes:
    """The new bytes of a rebuilt blob: runs of the blob itself, read when they are written."""

    blob: OldBlob
    runs: tuple[Run, ...]

    @property
    def size(self) -> int:
        return sum(run.length for run in self.runs)

    def open(self) -> BinaryIO:
        recipe = Recipe(self.blob.digest, self.size, self.runs)
        stream = RecipeStream(recipe, io.BytesIO(), lambda _: self.blob.open())
        return cast(BinaryIO, io.BufferedReader(stream, BUFFER))

    def digest(self) -> Digest:
        with self.open() as stream:
            return Digest.of_chunks(iter(lambda: stream.read(CHUNK), b""))


@dataclass(frozen=True, slots=True)
class Difference:
    """What a delta says, and the bytes of its own members: name in the tar → what opens it."""

    delta: Delta
    recipes: dict[str, bytes]
    fresh: dict[str, FreshBytes]


@dataclass(frozen=True, slots=True)
class WithDelta:
    """The files of a release, and beside them what a delta brings, by their names in the tar."""

    files: Files
    difference: Difference

    @property
    def location(self) -> str:
        return self.files.location

    def open(self, path: str) -> BinaryIO:
        if path in self.difference.recipes:
            return io.BytesIO(self.difference.recipes[path])
        if path in self.difference.fresh:
            return self.difference.fresh[path].open()
        return self.files.open(path)


def difference(
    listing: Listing,
    source: ReleaseSource,
    old: ReleaseSource,
    movable: Sequence[str],
    progress: Progress,
) -> Difference:
    """Compare what may be left out (`movable`, paths of the new release) with an old release.

    The old release's bytes are compared, not believed: whoever applies the delta checks what comes
    out. Raises VerificationError when the old one is no release.
    """
    old_listing = Listing.parse(read_bounded(old, ROOT, MAX_ROOT))
    there = old.inventory().files
    present = {file.digest: path for path, file in old_listing.files.items() if path in there}
    kept = tuple(sorted(path for path in movable if listing.files[path].digest in present))
    missing = [path for path in movable if path not in set(kept)]
    bases = _bases(old, old_listing, present)
    recipes: dict[str, bytes] = {}
    fresh: dict[str, FreshBytes] = {}
    rebuilt = []
    index: ChunkIndex | None = None
    for path in missing:
        blob = _old_blob(source, path, listing.files[path])
        if not bases or not _worth_matching(path, blob):
            continue
        if index is None:
            progress.step(f"cut {len(bases)} old blobs into chunks")
            index = ChunkIndex(bases)
        progress.step(f"match {path}")
        recipe, own = match(blob, index)
        new = FreshBytes(blob, tuple(own))
        data = recipe.as_bytes()
        if len(data) > MAX_RECIPE or len(data) + new.size > WORTH_REBUILDING * blob.size:
            continue
        recipes[delta_name(path, "recipe")] = data
        fresh[delta_name(path, "data")] = new
        rebuilt.append(
            Rebuilt(
                path,
                ListedFile(Digest.of(data), len(data)),
                ListedFile(new.digest(), new.size),
            )
        )
    delta = Delta(old_listing.name, old_listing.version, old_listing.digest, kept, tuple(rebuilt))
    return Difference(delta, recipes, fresh)


def _bases(old: ReleaseSource, listing: Listing, present: dict[Digest, str]) -> list[OldBlob]:
    found = [_old_blob(old, path, listing.files[path]) for path in sorted(present.values())]
    return [blob for blob in found if _worth_matching(present[blob.digest], blob)]


def _old_blob(source: ReleaseSource, path: str, file: ListedFile) -> OldBlob:
    return OldBlob(file.digest, file.size, lambda: source.open(path))


def _worth_matching(path: str, blob: OldBlob) -> bool:
    if not path.startswith(BLOBS) or blob.size < WORTH_MATCHING:
        return False
    with blob.open() as stream:
        return not stream.read(4).startswith((_GZIP, _ZSTD))
