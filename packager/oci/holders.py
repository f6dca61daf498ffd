"""What is known to be in the repositories of registries, while several things are pushed there."""

from __future__ import annotations

from packager.digest import Digest
from packager.oci.reference import Reference


class Holders:
    """Which repositories of a registry are known to hold a blob. Safe for threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Digest], list[str]] = {}

    def add(self, target: Reference, digest: Digest) -> None:
        """The repository of `target` holds it now."""
        self._known.setdefault((target.host, digest), []).append(target.repository)

    def has(self, target: Reference, digest: Digest) -> bool:
        """Whether the repository of `target` is known to hold it."""
        return target.repository in self._known.get((target.host, digest), ())

    def elsewhere(self, target: Reference, digest: Digest) -> str | None:
        """A repository of the same registry, from which it can be mounted."""
        return next(iter(self._known.get((target.host, digest), ())), None)
