"""The targets that have golden files, and a rendered target as documents."""

from __future__ import annotations

import shlex

from built_targets import HARDWARE, JURISDICTIONS, PUBLIC_KEY, sample_target
from units import parse_unit

from packager.domain.target import DeploymentPlatform
from packager.render.images import documents
from packager.render.installer import NAME as INSTALLER
from packager.render.rendering import render_target
from packager.render.templating import is_unit

Target = tuple[str, str, DeploymentPlatform]

TARGETS: list[Target] = [
    (where, machine, platform)
    for where in JURISDICTIONS
    for machine in HARDWARE
    for platform in DeploymentPlatform
]


def golden_name(target: Target) -> str:
    return f"{target[0]}-{target[1]}-{target[2].value}"


def as_documents(target: Target) -> dict[str, object]:
    """File name → its documents for YAML, its sections for units, its text for everything else."""
    return {
        name: _document(name, data)
        for name, data in render_target(*sample_target(*target), public_key=PUBLIC_KEY).items()
    }


def facts(installer: str) -> str:
    """The lines in which an installer is told about its release."""
    _, begin, rest = installer.partition("our_facts() {\n")
    assert begin
    return rest.partition("'\n")[2].partition("\nEND_OF_PACKAGER_PROGRAM")[0]


def _document(name: str, data: bytes) -> object:
    if name.endswith((".yaml", ".json")):
        return documents(name, data)
    if name == INSTALLER:  # the program is the same for all; what it is told differs
        return shlex.split(facts(data.decode()), comments=True)
    return parse_unit(data) if is_unit(name) else data.decode()
