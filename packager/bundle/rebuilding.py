"""A delta with its base as one release source: what travels, what is kept, what is rebuilt.

Nothing is written: a rebuilt blob is a stream that reads old and new bytes as its recipe says. So a
chain of deltas is a source on a source, and whatever takes a release takes that.
"""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import accumulate
from typing import BinaryIO, cast

from packager.bundle.composing import ROOT, delta_name
from packager.bundle.document import Delta
from packager.bundle.reading import BUFFER, BundleSource
from packager.bundle.recipe import MAX_RECIPE, Recipe
from packager.carrying import MAX_ROOT, Listing
from packager.closed_world import Inventory
from packager.digest import CHUNK, Digest
from packager.errors import CallError, Finding, VerificationError
from packager.progress import Progress
from packager.release_source import Files, ReleaseSource, read_bounded

OpenBlob = Callable[[Digest], BinaryIO]


class RebuiltSource:
    """A release source of a delta and the release that it stands on."""

    def __init__(self, delta: BundleSource, described: Delta, base: ReleaseSource) -> None:
        """Raises VerificationError when `base` is not the release that the delta was made from,
        CallError when only some of its targets are there."""
        self._delta = delta
        self._base = base
        self._lock = threading.Lock()
        self._recipes: dict[str, Recipe] = {}
        self._described = described
        self._kept = frozenset(self._described.kept)
        self._rebuilt = {each.path: each for each in self._described.rebuilt}
        root = read_bounded(base, ROOT, MAX_ROOT)
        if Digest.of(root) != self._described.base:
            raise _other_base(delta, self._described, base, root)
        listing = Listing.parse(root)
        there = _files_of(base)
        _refuse_some_targets(delta, base, listing.files, there)
        self._old_paths = {
            file.digest: path for path, file in listing.files.items() if path in there
        }

    @property
    def location(self) -> str:
        return f"{self._delta.location} on {self._base.location}"

    @property
    def targets(self) -> tuple[str, ...]:
        return self._delta.targets

    @property
    def images(self) -> Files:
        """The OCI layout: the delta's own lists, blobs from wherever they are."""
        return _Images(self)

    @property
    def listing(self) -> Listing:
        """What the new release names."""
        return self._delta.listing

    def inventory(self) -> Inventory:
        """What lies in the delta, and what it leaves to its base."""
        found = self._delta.inventory()
        files = {path: self.listing.files[path].size for path in (*self._kept, *self._rebuilt)}
        return Inventory(found.files | files, found.folders, found.findings)

    def open(self, path: str) -> BinaryIO:
        """A file of the new release; raises FileNotFoundError when there is none of that path."""
        if path in self._kept and (listed := self.listing.files.get(path)):
            return self._open_old(listed.digest)
        if path in self._rebuilt:
            fresh = self._delta.open_member(delta_name(path, "data"))
            stream = RecipeStream(self.recipe(path), fresh, self._open_old)
            return cast(BinaryIO, io.BufferedReader(stream, BUFFER))
        return self._delta.open(path)

    def open_in_layout(self, name: str) -> BinaryIO:
        """A file of the OCI layout by its name there."""
        if name.startswith("blobs/"):
            return self.open(f"images/{name}")
        return self._delta.open_member(name)

    def recipe(self, path: str) -> Recipe:
        """The recipe of a rebuilt blob; raises VerificationError for one that is not its own."""
        with self._lock:
            if path not in self._recipes:
                self._recipes[path] = self._read_recipe(path)
            return self._recipes[path]

    def check_base(self, progress: Progress) -> None:
        """Hash every file of the base that is used; raises VerificationError naming those that are
        damaged. For telling whose fault it is, after something did not come out right."""
        if isinstance(self._base, RebuiltSource):
            self._base.check_base(progress)
        needed = {self.listing.files[path].digest for path in self._kept}
        for path in self._rebuilt:
            needed.update(self.recipe(path).bases)
        progress.step(f"check {len(needed)} files of {self._base.location}")
        findings = []
        for number, digest in enumerate(sorted(needed)):
            progress.advance(str(digest), number, len(needed))
            try:
                with self._open_old(digest) as stream:
                    found = _digest(stream)
            except OSError as error:
                findings.append(self._damaged(digest, error.strerror or str(error)))
                continue
            if found != digest:
                findings.append(self._damaged(digest, str(found)))
        if findings:
            raise VerificationError.of(findings)

    def _damaged(self, digest: Digest, got: str) -> Finding:
        return Finding(
            "the release that the delta stands on is damaged",
            f"{self._base.location}: {self._old_paths.get(digest, 'no such file')}",
            str(digest),
            got,
            "bring that release again, or the full bundle of the new one",
        )

    def _open_old(self, digest: Digest) -> BinaryIO:
        path = self._old_paths.get(digest)
        if path is None:
            raise FileNotFoundError(2, "The base does not have this blob", str(digest))
        return self._base.open(path)

    def _read_recipe(self, path: str) -> Recipe:
        name = delta_name(path, "recipe")
        where = f"{self._delta.location}: {name}"
        try:
            with self._delta.open_member(name) as stream:
                data = stream.read(MAX_RECIPE + 1)
        except OSError as error:
            raise VerificationError(
                "the delta cannot be read: a recipe",
                where=where,
                got=error.strerror or str(error),
                next_step="try another medium, or get it again",
            ) from None
        listed = self._rebuilt[path].recipe
        if len(data) > MAX_RECIPE or Digest.of(data) != listed.digest:
            raise VerificationError(
                "the delta is damaged: a recipe differs", where=where, expected=str(listed.digest)
            )
        recipe = Recipe.parse(data, where)
        expected = self.listing.files[path]
        if (recipe.blob, recipe.size) != (expected.digest, expected.size):
            raise VerificationError(
                "the recipe makes another blob than the one that it stands for",
                where=where,
                expected=f"{expected.digest}, {expected.size} bytes",
                got=f"{recipe.blob}, {recipe.size} bytes",
            )
        return recipe


class RecipeStream(io.RawIOBase):
    """A blob that does not lie anywhere, read as its recipe says."""

    def __init__(self, recipe: Recipe, fresh: BinaryIO, open_old: OpenBlob) -> None:
        self._runs = recipe.runs
        self._starts = list(accumulate((run.length for run in recipe.runs), initial=0))
        self._fresh = fresh
        self._open_old = open_old
        self._open: dict[Digest, BinaryIO] = {}
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        if self._position >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._position) - 1
        run = self._runs[number]
        inside = self._position - self._starts[number]
        view = memoryview(buffer).cast("B")[: run.length - inside]  # type: ignore[arg-type]
        stream = self._fresh if run.base is None else self._old(run.base)
        stream.seek(run.offset + inside)
        got = int(stream.readinto(view))  # type: ignore[attr-defined]
        self._position += got
        return got

    def close(self) -> None:
        for stream in (self._fresh, *self._open.values()):
            stream.close()
        super().close()

    def _old(self, digest: Digest) -> BinaryIO:
        if digest not in self._open:
            self._open[digest] = self._open_old(digest)
        return self._open[digest]


class _Images:
    """The OCI layout of a rebuilt release."""

    def __init__(self, source: RebuiltSource) -> None:
        self._source = source

    @property
    def location(self) -> str:
        return self._source.location

    def open(self, path: str) -> BinaryIO:
        return self._source.open_in_layout(path)


def _files_of(base: ReleaseSource) -> Collection[str]:
    """The paths of what the base has."""
    try:
        return base.inventory().files
    except VerificationError as error:
        first = error.findings[0]
        raise VerificationError(
            f"the release that the delta stands on is damaged: {first.what}",
            where=f"{base.location}: {first.where}",
            expected=first.expected,
            got=first.got,
            next_step="bring that release again, or the full bundle of the new one",
        ) from None


def _refuse_some_targets(
    delta: BundleSource, base: ReleaseSource, listed: Collection[str], there: Collection[str]
) -> None:
    """A base of some targets is nobody's damage: a delta of more targets was brought to it."""
    old, here = (
        {target for target in delta.targets if any(_of_target(path, target) for path in paths)}
        for paths in (listed, there)
    )
    if old != here:
        raise CallError(
            "the delta carries targets that the release it stands on does not have here",
            where=f"{delta.location} on {base.location}",
            expected=", ".join(sorted(old)),
            got=", ".join(sorted(here)) or "none of them",
            next_step="have the delta made for these targets (--target), or bring the full bundle",
        )


def _of_target(path: str, target: str) -> bool:
    return path.startswith(f"targets/{target}/")


def _digest(stream: BinaryIO) -> Digest:
    return Digest.of_chunks(iter(lambda: stream.read(CHUNK), b""))


def _other_base(
    delta: BundleSource, described: Delta, base: ReleaseSource, root: bytes
) -> VerificationError:
    found: Mapping[str, str] = {}
    try:
        listing = Listing.parse(root)
        found = {"got": f"{listing.name} {listing.version}, {listing.digest}"}
    except VerificationError:
        found = {"got": str(Digest.of(root))}
    return VerificationError(
        "the delta was made from another release",
        where=f"{delta.location} on {base.location}",
        expected=f"{described.name} {described.version}, {described.base}",
        next_step="apply it to that release, or bring the full bundle",
        **found,
    )
