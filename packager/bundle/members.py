"""What lies where in a bundle: members, their headers, their places.

Every byte of a bundle follows from what it carries: the reader computes the headers that must be
there and compares, so there is no tar parser that could be led astray, and no place to hide things.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from packager.archive import comment_header, file_header
from packager.digest import Digest

BLOCK = 512
# Data of this size and more starts where file systems that share blocks can share it.
ALIGNED_FROM = 1 << 20
ALIGNMENT = 4096
END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle.

    `name` in the tar; `path` in the release, None for what only bundles have; `data` when the bytes
    are known beforehand; `position` of its first header, in bytes from the start of the bundle.
    """

    name: str
    size: int
    position: int
    path: str | None = None
    digest: Digest | None = None
    data: bytes | None = None

    @property
    def header(self) -> bytes:
        """All header blocks, those that only align included."""
        own = file_header(self.name, self.size)
        return _alignment(self.position + len(own), self.size) + own

    @property
    def start(self) -> int:
        """Where the data starts."""
        return self.position + len(self.header)

    @property
    def padding(self) -> int:
        """Zero bytes after the data."""
        return -self.size % BLOCK

    @property
    def end(self) -> int:
        return self.start + self.size + self.padding


@dataclass
class Composition:
    """Members one after the other, in the order in which they lie."""

    members: list[Member] = field(default_factory=list)
    _paths: dict[str, Member] = field(default_factory=dict)
    _names: dict[str, Member] = field(default_factory=dict)
    _end: int = 0

    def add(
        self,
        name: str,
        size: int,
        *,
        path: str | None = None,
        digest: Digest | None = None,
        data: bytes | None = None,
    ) -> Member:
        """Place a member at the end. Raises ValueError for a name or path that is taken."""
        member = Member(name, size, self._end, path, digest, data)
        if name in self._names or (path and path in self._paths):
            raise ValueError(f"two members named {name}")
        self.members.append(member)
        self._names[name] = member
        if path:
            self._paths[path] = member
        self._end = member.end
        return member

    def find(self, path: str) -> Member | None:
        """The member that holds this file of the release."""
        return self._paths.get(path)

    def named(self, name: str) -> Member | None:
        """The member of that name in the tar."""
        return self._names.get(name)

    @property
    def paths(self) -> Iterator[tuple[str, Member]]:
        """Files of the release, with the members that hold them."""
        yield from self._paths.items()

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._end + len(END)


def _alignment(unaligned: int, size: int) -> bytes:
    if size < ALIGNED_FROM:
        return b""
    gap = -unaligned % ALIGNMENT
    if gap == BLOCK:  # a header that says nothing takes two blocks
        gap += ALIGNMENT
    return comment_header(gap) if gap else b""
