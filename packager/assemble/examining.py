"""Examines what an image is made of, once, and remembers the outcome.

Unpacking gigabytes to look at every library takes half a minute, so the outcome is kept in the
cache under the digest of everything that it depends on. Only a clean outcome is kept; it carries
its own digest, and what does not match is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.assemble.device import Device
from packager.assemble.gpu_libraries import library_folders, reasons
from packager.assemble.image_checks import check_image
from packager.assemble.inputs import Inputs
from packager.assemble.layers import foundation
from packager.assemble.pruning import rules_digest
from packager.assemble.recipe import RULES_VERSION
from packager.assemble.slimming import SLIMMED, Cut, find_cut
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.lock import LockedEnvironment
from packager.domain.provider_wheel import GLIBC
from packager.workspace import write_atomically


@dataclass(frozen=True, slots=True)
class Examination:
    """`record` is evidence for people; `cut` is None when the provider stays as it is."""

    record: Mapping[str, Any]
    cut: Cut | None


def examine(
    environment: LockedEnvironment, inputs: Inputs, device: Device, cache: Path
) -> Examination:
    """Check closure, code and floors of an image. Raises LockError with everything wrong."""
    path = cache / "examined" / f"{_key(environment, device).hex}.json"
    record = _remembered(path)
    if record is None:
        record = _examined(environment, inputs, device)
        body = dumps(record).decode()
        write_atomically(path, dumps({"digest": str(Digest.of(body.encode())), "record": body}))
    cut = record.get("slimmed")
    return Examination(record, Cut.of_dict(cut) if cut else None)


def _examined(environment: LockedEnvironment, inputs: Inputs, device: Device) -> dict[str, Any]:
    entries = foundation(environment, inputs, device)
    checked = check_image(
        entries,
        architecture=environment.architecture,
        folders=library_folders(environment.key),
        chosen=device.libraries,
        capability=device.capability,
        glibc=GLIBC,
    )
    record: dict[str, Any] = {
        "environment": environment.key,
        "compute_capability": device.capability,
        "checked": checked.as_dict(),
    }
    if device.libraries:
        record["gpu_libraries"] = reasons(device.libraries)
    provider = next((entry for entry in entries if entry.path == SLIMMED), None)
    if provider and device.slimmed and device.capability:
        record["slimmed"] = find_cut(provider, device.capability).as_dict()
    return record


def _key(environment: LockedEnvironment, device: Device) -> Digest:
    locked = [str(package.digest) for package in environment.packages]
    locked += [str(wheel.digest) for wheel in environment.wheels]
    rules = [RULES_VERSION, str(rules_digest())]
    return Digest.of(dumps([rules, environment.key, sorted(locked), device.as_list()]))


def _remembered(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_bytes())
        body = str(kept["record"])
        if str(Digest.of(body.encode())) != kept["digest"]:
            return None
        record = json.loads(body)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
