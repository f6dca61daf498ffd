"""The lock: every foreign byte that goes into an image, by name, version and digest.

It names packages and digests, never a mirror or an address, so that the same lock serves every
country's own mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

from packager.digest import Digest


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """A Debian package: `filename` is its path in the pool, relative to any mirror's root."""

    name: str
    version: str
    architecture: str
    filename: str
    digest: Digest
    size: int
    license: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class LockedWheel:
    """A wheel: `filename` is the distribution's file name, which carries its platform tags."""

    name: str
    version: str
    filename: str
    digest: Digest
    size: int
    license: str | None = None


@dataclass(frozen=True, slots=True)
class LockedEnvironment:
    """What one hardware profile's image is made of, besides the runtime and the model.

    `key` names it: `<architecture>/<wheel>==<version>`; profiles with the same key share it.
    """

    key: str
    architecture: str
    packages: tuple[LockedPackage, ...]
    wheels: tuple[LockedWheel, ...]


@dataclass(frozen=True, slots=True, order=True)
class LockedBaseImage:
    """A base for one architecture: the digest of its manifest, which names every other byte."""

    architecture: str
    manifest: Digest


@dataclass(frozen=True, slots=True)
class LockedBase:
    """A base image that images are put on.

    `name` is what it was asked for by, without registry and folder; `digest` is of what stood
    there: an index or a manifest.
    """

    name: str
    digest: Digest
    images: tuple[LockedBaseImage, ...]

    def manifest(self, architecture: str) -> Digest | None:
        return next((one.manifest for one in self.images if one.architecture == architecture), None)


@dataclass(frozen=True, slots=True)
class Lock:
    """`packager.lock`. `inputs` is the digest of what was asked for, so that a stale lock shows."""

    inputs: Digest
    suite: str
    environments: tuple[LockedEnvironment, ...]
    base: LockedBase | None = None

    def environment(self, key: str) -> LockedEnvironment | None:
        return next((entry for entry in self.environments if entry.key == key), None)
