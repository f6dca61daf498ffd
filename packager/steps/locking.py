"""The lock of a build: read when fresh, made when there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packager.assemble.lock_file import lock_bytes, read_lock
from packager.assemble.resolve import is_fresh, resolve
from packager.domain.lock import Lock
from packager.domain.release import Plan
from packager.errors import LockError
from packager.progress import Progress
from packager.steps.basing import locked_base, pins_base
from packager.steps.hardware import distinct_hardware
from packager.steps.sources import Sources
from packager.workspace import write_atomically


def lock(plan: Plan, file: Path, sources: Sources, progress: Progress) -> Lock:
    """The lock in `file`; made there when it does not exist. Raises LockError when it is stale.

    A stale lock is never brought up to date in silence: what goes into an image changes only when
    somebody says so.
    """
    hardware, features = distinct_hardware(plan), plan.request.features
    base, architectures = plan.request.base, {one.platform.architecture for one in hardware}
    if not file.exists():
        progress.step(f"lock: pin every package and wheel in {file}")
        made = resolve(
            hardware,
            mirror_option=sources.mirror,
            wheels=sources.wheels,
            features=features,
            progress=progress,
        )
        made = replace(made, base=locked_base(base, architectures, progress))
        write_atomically(file, lock_bytes(made))
        return made
    known = read_lock(file)
    if not is_fresh(known, hardware, sources.wheels, features):
        raise LockError(
            "the lock was made for other hardware profiles, other rules or other wheels",
            where=str(file),
            expected=", ".join(profile.id for profile in hardware),
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    if not pins_base(known, base, architectures):
        raise LockError(
            "the lock does not pin this base",
            where=str(file),
            expected=str(base),
            got=f"{known.base.name} ({known.base.digest})" if known.base else "no base",
            next_step="bring it up to date: packager lock RELEASE.yaml",
        )
    return known
