"""Makes the lock: from hardware profiles to every package and wheel, by digest.

Profiles that share architecture and execution provider share one environment. The lock carries the
digest of what was asked for, so that a stale one is told from a fresh one without any network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packager.assemble.closure import closure
from packager.assemble.fetch import keep
from packager.assemble.index import PackageRecord, read_index
from packager.assemble.mirror import Mirror, find_mirror
from packager.assemble.own_wheels import own_wheels
from packager.assemble.recipe import (
    DROPPED_PACKAGES,
    DROPPED_WHEELS,
    PACKAGES,
    PYTHON,
    SUITE,
    environment_key,
    features_of,
    parse_key,
    requirements,
)
from packager.assemble.wheels import resolve_wheels
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.hardware import HardwareProfile
from packager.domain.lock import Lock, LockedEnvironment, LockedPackage, LockedWheel
from packager.errors import InputError
from packager.progress import Progress
from packager.workspace import cache_folder


def lock_inputs(hardware: Sequence[HardwareProfile], features: Sequence[str] = ()) -> Digest:
    """Digest of everything that a lock for these profiles is made from, save the world outside."""
    return _inputs({environment_key(profile, features) for profile in hardware})


def _inputs(keys: Iterable[str]) -> Digest:
    return Digest.of(
        dumps(
            {
                "suite": SUITE,
                "python": PYTHON,
                "packages": sorted(PACKAGES),
                "dropped": sorted([*DROPPED_PACKAGES, *DROPPED_WHEELS]),
                "environments": {
                    key: requirements(parse_key(key)[1], features_of(key)) for key in keys
                },
            }
        )
    )


def is_fresh(
    lock: Lock,
    hardware: Sequence[HardwareProfile],
    wheels: Path | None = None,
    features: Sequence[str] = (),
) -> bool:
    """Whether the lock holds an environment for each profile and was made from today's recipe.

    A lock may hold more than is asked for: one file serves releases with different targets. The
    user's own `wheels` must be the ones that it pins.
    """
    keys = {entry.key for entry in lock.environments}
    try:
        made_from = _inputs(keys)
    except InputError:  # the lock names a wheel that the recipe does not know
        return False
    asked = {environment_key(one, features) for one in hardware}
    if made_from != lock.inputs or not asked <= keys:
        return False
    return all(_pins_own(entry, wheels) for entry in lock.environments if entry.key in asked)


def _pins_own(environment: LockedEnvironment, wheels: Path | None) -> bool:
    """Whether every own wheel that the environment could use is the one that it pins."""
    own = own_wheels(wheels, environment.architecture)
    return all(
        Digest.of_file(own[wheel.name]) == wheel.digest
        for wheel in environment.wheels
        if wheel.name in own
    )


def resolve(
    hardware: Sequence[HardwareProfile],
    *,
    mirror_option: str | None,
    progress: Progress,
    cache: Path | None = None,
    wheels: Path | None = None,
    features: Sequence[str] = (),
) -> Lock:
    """Ask the Debian mirror and pip what the profiles need today.

    The wheels are downloaded into the cache (`cache`, else the user's), because a lock names only
    bytes that were seen. Raises InputError, LockError or UnavailableError.
    """
    keys = sorted({environment_key(profile, features) for profile in hardware})
    inputs = _inputs(keys)
    mirror = find_mirror(mirror_option)
    packages: dict[str, tuple[LockedPackage, ...]] = {}
    environments = []
    for number, key in enumerate(keys):
        progress.advance(f"resolve {key}", number, len(keys))
        architecture, wheel = parse_key(key)
        if architecture not in packages:
            packages[architecture] = _packages(mirror, architecture)
        own = own_wheels(wheels, architecture)
        asked = requirements(wheel, features_of(key))
        locked = _wheels(asked, architecture, cache or cache_folder(), own)
        environments.append(LockedEnvironment(key, architecture, packages[architecture], locked))
    progress.advance("resolved", len(keys), len(keys))
    return Lock(inputs, SUITE, tuple(environments))


def _packages(mirror: Mirror, architecture: str) -> tuple[LockedPackage, ...]:
    index = read_index(mirror, architecture)
    return tuple(_locked(record) for record in closure(PACKAGES, index, DROPPED_PACKAGES))


def _locked(record: PackageRecord) -> LockedPackage:
    return LockedPackage(
        name=record.name,
        version=record.version,
        architecture=record.architecture,
        filename=record.filename,
        digest=record.digest,
        size=record.size,
    )


def _wheels(
    asked: Sequence[str], architecture: str, cache: Path, own: Mapping[str, Path]
) -> tuple[LockedWheel, ...]:
    locked = []
    with tempfile.TemporaryDirectory(prefix=".packager-resolve-", dir=cache) as scratch:
        for found in resolve_wheels(asked, architecture, Path(scratch), own):
            entry = found.locked()
            keep(cache, found.path, entry.digest)
            locked.append(entry)
    return tuple(sorted(locked))
