"""A first site profile: what can be seen of the machine, and what the operator says."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.catalogue import load_catalogue
from packager.catalogue.detecting import look, propose, unmatched
from packager.domain.target import Region
from packager.errors import InputError
from packager.site.profile import DEFAULT_LISTEN, Site, SiteEngine, read_site
from packager.workspace import refuse_existing, write_atomically


@dataclass(frozen=True, slots=True)
class SiteProposal:
    """What the machine says of itself; `told` are lines for the operator."""

    name: str
    engine: str
    hardware: str
    told: tuple[str, ...]


def propose_site() -> SiteProposal:
    """Look at the machine: its name, its engines, its CPU and accelerators."""
    catalogue = load_catalogue(None)
    profiles = [catalogue.hardware(name) for name in catalogue.hardware_ids()]
    machine = look()
    fitting = propose(machine, profiles)
    best = next((one for one in fitting if not one.against), None)
    engines = [engine.value for engine in SiteEngine if shutil.which(engine.tool)]
    told = [f"hardware {one.hardware}: {one.why}" for one in fitting if not one.against]
    told += [f"no profile for {device}" for device in unmatched(machine, profiles)]
    told.append(f"engines here: {', '.join(engines) or 'none'}")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()).strip(".-") or "site"
    return SiteProposal(
        name, (engines or ["docker"])[0], best.hardware if best else "", tuple(told)
    )


def write_site(output: Path, answers: Mapping[str, Any]) -> dict[str, object]:
    """Write the profile and read it again. Raises InputError for an answer that cannot stand.

    The jurisdiction must be one of the catalogue's; paths of keys are made relative to the file.
    """
    refuse_existing(output)
    load_catalogue(None).jurisdiction(answers["jurisdiction"])
    try:
        region = Region.parse(answers["region"])
    except ValueError as error:
        raise InputError(
            "the region cannot be read",
            where="--region",
            expected="provider/region, such as site/riyadh-lab",
            got=answers["region"],
        ) from error
    site = Site(
        file=output,
        name=answers["name"],
        jurisdiction=answers["jurisdiction"],
        region=region,
        engine=SiteEngine(answers["engine"]),
        owner=answers["owner"],
        hardware=answers["hardware"],
        keys=_relative(answers["keys"], output.parent),
        accept=tuple(answers["accept"]),
        listen=answers["listen"] or DEFAULT_LISTEN,
        registry=answers.get("registry") or "",
    )
    write_atomically(output, site.as_bytes())
    try:
        read_site(output)
    except InputError:
        output.unlink()
        raise
    return {"path": str(output), "hardware": site.hardware, "engine": site.engine.value}


def _relative(keys: Sequence[Path], folder: Path) -> tuple[str, ...]:
    return tuple(os.path.relpath(key, folder) for key in keys)
