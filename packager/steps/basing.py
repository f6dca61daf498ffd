"""A base of the user's own: pinned before anything is decided, read before it is built on.

What reads bases, and with it the client of registries, is imported when there is a base: most
builds have none, and a build with nothing to do should not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packager.assemble.base_contents import RULES, contents_of, wanted
from packager.assemble.lock_file import read_lock
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.base import Base, BaseContents, BaseLayers, BasePackage
from packager.domain.lock import Lock, LockedBase
from packager.domain.release import BaseImage, PlannedTarget, ReleaseRequest
from packager.errors import LockError
from packager.progress import Progress
from packager.workspace import cache_folder, write_atomically


def with_pinned_base(
    request: ReleaseRequest, lock_file: Path | None, progress: Progress
) -> ReleaseRequest:
    """The request with its base named by digest: by its own, else by the lock's, else by what
    stands under the name now, which the lock will pin."""
    found = with_locked_base(request, lock_file) if lock_file else request
    if found.base.reference is None or found.base.digest is not None:
        return found
    from packager.oci.base_image import digest_of

    progress.step(f"look up the base {found.base.reference}")
    return _named(found, digest_of(found.base))


def with_locked_base(request: ReleaseRequest, lock_file: Path) -> ReleaseRequest:
    """The request with its base named by the digest in the lock, where the lock knows the name."""
    base = request.base
    if base.reference is None or base.digest is not None or not lock_file.exists():
        return request
    locked = read_lock(lock_file).base
    return _named(request, locked.digest) if locked and locked.name == base.name else request


def _named(request: ReleaseRequest, digest: Digest) -> ReleaseRequest:
    return replace(request, base=replace(request.base, digest=str(digest)))


def locked_base(
    base: BaseImage, architectures: Iterable[str], progress: Progress
) -> LockedBase | None:
    """The base as a lock pins it; None when there is none."""
    if base.reference is None:
        return None
    from packager.oci.base_image import pin_base

    progress.step(f"pin the base {base.reference}")
    return pin_base(base, {*architectures}, progress)


def pins_base(lock: Lock, base: BaseImage, architectures: Iterable[str]) -> bool:
    """Whether the lock names the base that is asked for, for every architecture."""
    if base.reference is None:
        return True
    if lock.base is None or lock.base.name != base.name:
        return False
    return str(lock.base.digest) == base.digest and all(
        lock.base.manifest(one) for one in architectures
    )


def base_of(
    target: PlannedTarget, request: ReleaseRequest, lock: Lock, progress: Progress
) -> Base | None:
    """What a target's image is put on; None for nothing. Raises LockError, UnavailableError."""
    if request.base.reference is None:
        return None
    if lock.base is None:
        raise LockError(
            "the lock pins no base",
            where=target.where,
            expected=request.base.reference,
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    from packager.oci.base_image import fetch_base

    layers = fetch_base(lock.base, request.base, target.hardware.platform.architecture, progress)
    return Base(layers, _contents(layers))


def _contents(layers: BaseLayers) -> BaseContents:
    """Read once: what is kept is believed only when its own digest is right."""
    key = Digest.of(dumps([RULES, str(layers.manifest)]))
    path = cache_folder() / "bases" / "contents" / f"{key.hex}.json"
    if known := _remembered(path):
        return known
    from packager.oci.base_tree import read_tree

    contents = contents_of(read_tree(layers.layers, wanted), layers.name)
    body = dumps(_as_dict(contents)).decode()
    write_atomically(path, dumps({"digest": str(Digest.of(body.encode())), "contents": body}))
    return contents


def _as_dict(contents: BaseContents) -> dict[str, object]:
    return {
        "packages": [
            [one.kind, one.name, one.version, one.architecture, one.distribution]
            for one in contents.packages
        ],
        "records": list(contents.records),
        "unread": list(contents.unread),
        "cleared": list(contents.cleared),
        "distribution": contents.distribution,
    }


def _remembered(path: Path) -> BaseContents | None:
    try:
        kept = json.loads(path.read_bytes())
        body = str(kept["contents"])
        if str(Digest.of(body.encode())) != kept["digest"]:
            return None
        found = json.loads(body)
        return BaseContents(
            tuple(BasePackage(*row) for row in found["packages"]),
            tuple(found["records"]),
            tuple(found["unread"]),
            tuple(found["cleared"]),
            str(found["distribution"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
