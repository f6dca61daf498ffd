"""Makes the lock: from hardware profiles to every package and wheel, by digest.

Profiles that share architecture and execution provider share one environment. The lock carries the
digest of what was asked for, so that a stale one is told from a fresh one without any network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from packager.assemble.closure import closure
from packager.assemble.fetch import keep
from packager.assemble.index import PackageRecord, read_index
from packager.assemble.mirror import Mirror, find_mirror
from packager.assemble.recipe import (
    DROPPED_PACKAGES,
    DROPPED_WHEELS,
    PACKAGES,
    PYTHON,
    SUITE,
    parse_key,
    requirements,
)
from packager.assemble.wheels import resolve_wheels
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.hardware import HardwareProfile, Wheel
from packager.domain.lock import Lock, LockedEnvironment, LockedPackage, LockedWheel
from packager.errors import InputError
from packager.progress import Progress
from packager.workspace import cache_folder


def environment_key(hardware: HardwareProfile) -> str:
    """`amd64/onnxruntime==1.28.0`: the environment that the profile's images are made of."""
    wheel = hardware.wheel
    return f"{hardware.platform.architecture}/{wheel.name}=={wheel.version}"


def lock_inputs(hardware: Sequence[HardwareProfile]) -> Digest:
    """Digest of everything that a lock for these profiles is made from, save the world outside."""
    return _inputs({environment_key(profile) for profile in hardware})


def _inputs(keys: Iterable[str]) -> Digest:
    return Digest.of(
        dumps(
            {
                "suite": SUITE,
                "python": PYTHON,
                "packages": sorted(PACKAGES),
                "dropped": sorted([*DROPPED_PACKAGES, *DROPPED_WHEELS]),
                "environments": {key: requirements(parse_key(key)[1]) for key in keys},
            }
        )
    )


def is_fresh(lock: Lock, hardware: Sequence[HardwareProfile]) -> bool:
    """Whether the lock holds an environment for each profile and was made from today's recipe.

    A lock may hold more than is asked for: one file serves releases with different targets.
    """
    keys = {entry.key for entry in lock.environments}
    try:
        made_from = _inputs(keys)
    except InputError:  # the lock names a wheel that the recipe does not know
        return False
    return made_from == lock.inputs and all(environment_key(one) in keys for one in hardware)


def resolve(
    hardware: Sequence[HardwareProfile],
    *,
    mirror_option: str | None,
    progress: Progress,
    cache: Path | None = None,
) -> Lock:
    """Ask the Debian mirror and pip what the profiles need today.

    The wheels are downloaded into the cache (`cache`, else the user's), because a lock names only
    bytes that were seen. Raises InputError, LockError or UnavailableError.
    """
    keys = sorted({environment_key(profile) for profile in hardware})
    inputs = _inputs(keys)
    mirror = find_mirror(mirror_option)
    packages: dict[str, tuple[LockedPackage, ...]] = {}
    environments = []
    for number, key in enumerate(keys):
        progress.advance(f"resolve {key}", number, len(keys))
        architecture, wheel = parse_key(key)
        if architecture not in packages:
            packages[architecture] = _packages(mirror, architecture)
        wheels = _wheels(wheel, architecture, cache or cache_folder())
        environments.append(LockedEnvironment(key, architecture, packages[architecture], wheels))
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


def _wheels(wheel: Wheel, architecture: str, cache: Path) -> tuple[LockedWheel, ...]:
    locked = []
    with tempfile.TemporaryDirectory(prefix=".packager-resolve-", dir=cache) as scratch:
        for found in resolve_wheels(requirements(wheel), architecture, Path(scratch)):
            entry = found.locked()
            keep(cache, found.path, entry.digest)
            locked.append(entry)
    return tuple(sorted(locked))
