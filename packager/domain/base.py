"""A base image as it was read: what lies under our layers, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from packager.digest import Digest
from packager.domain.artifact import Layer


@dataclass(frozen=True, slots=True)
class BaseLayers:
    """A base for one architecture, every byte checked against its manifest's digest.

    `not_taken` are the settings of its configuration that our image does not have: NAME of an
    environment variable as `Env.NAME`, others as `Entrypoint`.
    """

    name: str
    digest: Digest
    manifest: Digest
    layers: tuple[Layer, ...]
    not_taken: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class BasePackage:
    """A package of the base as the base's own records tell it; nobody vouches for them.

    `kind` is deb, apk or pypi, `distribution` os-release's ID, empty for a wheel.
    """

    kind: str
    name: str
    version: str
    architecture: str = ""
    distribution: str = ""


@dataclass(frozen=True, slots=True)
class BaseContents:
    """What the base's file system tells.

    `records` are the databases of packages that were read, `unread` those that are there and are
    not read here (rpm): with neither, or with some unread, the list of packages is not complete.
    `cleared` are paths that would have changed how our programs run; a layer hides them.
    """

    packages: tuple[BasePackage, ...]
    records: tuple[str, ...]
    unread: tuple[str, ...]
    cleared: tuple[str, ...]
    distribution: str

    @property
    def complete(self) -> bool:
        """Whether every package database that is there was read, and there is one."""
        return bool(self.records) and not self.unread


@dataclass(frozen=True, slots=True)
class Base:
    """What an image is put on."""

    layers: BaseLayers
    contents: BaseContents


Folder = dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A file or link: `target` of a symbolic link, `content` of a file that was asked for."""

    target: str | None = None
    content: bytes | None = None


Node = Folder | Leaf


@dataclass(slots=True)
class BaseTree:
    """Folders as dictionaries by name, everything else as leaves."""

    root: Folder = field(default_factory=dict)

    def at(self, path: str) -> Node | None:
        """What lies at a path, followed through no link."""
        node: Node | None = self.root
        for part in path.split("/"):
            if not isinstance(node, dict):
                return None
            node = node.get(part)
        return node

    def below(self, path: str) -> Iterator[tuple[str, Leaf]]:
        """Every leaf at or below a path with its whole path, in bytewise order."""
        yield from _leaves(path, self.at(path) if path else self.root)


def _leaves(path: str, node: Node | None) -> Iterator[tuple[str, Leaf]]:
    if isinstance(node, Leaf):
        yield path, node
    elif node is not None:
        for name in sorted(node):
            yield from _leaves(f"{path}/{name}" if path else name, node[name])
