"""The targets that have golden files, and a rendered target as documents.

One golden file holds one machine on one platform: all of it for the first jurisdiction, and for the
others what differs from the first, value by value. So a reader sees what a jurisdiction changes.
"""

from __future__ import annotations

import shlex
from typing import Any

from built_targets import EVERY_HARDWARE, EVERY_JURISDICTION, PUBLIC_KEY, sample_target
from units import parse_unit

from packager.domain.target import DeploymentPlatform
from packager.render.images import documents, is_chart_template
from packager.render.installer import NAME as INSTALLER
from packager.render.rendering import render_target
from packager.render.templating import is_unit

FIRST, *OTHERS = EVERY_JURISDICTION
PAIRS = [(machine, platform) for machine in EVERY_HARDWARE for platform in DeploymentPlatform]
_GONE = "not here"


def golden_name(machine: str, platform: DeploymentPlatform) -> str:
    return f"{machine}-{platform.value}"


def golden(machine: str, platform: DeploymentPlatform) -> dict[str, Any]:
    """What the golden file of a pair holds."""
    first = as_documents(FIRST, machine, platform)
    return {FIRST: first} | {
        where: differences(first, as_documents(where, machine, platform)) for where in OTHERS
    }


def as_documents(where: str, machine: str, platform: DeploymentPlatform) -> dict[str, Any]:
    """File name → its documents for YAML, its sections for units, its lines for everything else.

    The target's own name in the names of files is written as INSTANCE.
    """
    files = render_target(*sample_target(where, machine, platform), public_key=PUBLIC_KEY)
    instance = f"filetype-{where}-{machine}"
    return {
        name.replace(instance, "INSTANCE"): _document(name, data) for name, data in files.items()
    }


def differences(first: Any, other: Any, place: str = "") -> dict[str, Any]:
    """Place → value in `other`, wherever it is not as in `first`."""
    if isinstance(first, dict) and isinstance(other, dict):
        found: dict[str, Any] = {}
        for key in [*first, *(key for key in other if key not in first)]:
            one, two = first.get(key, _GONE), other.get(key, _GONE)
            found |= differences(one, two, f"{place}/{key}")
        return found
    if isinstance(first, list) and isinstance(other, list) and len(first) == len(other):
        found = {}
        for number, (one, two) in enumerate(zip(first, other, strict=True)):
            found |= differences(one, two, f"{place}/{number}")
        return found
    return {} if first == other else {place: other}


def facts(installer: str) -> str:
    """The lines in which an installer is told about its release."""
    _, begin, rest = installer.partition("our_facts() {\n")
    assert begin
    return rest.partition("'\n")[2].partition("\nEND_OF_PACKAGER_PROGRAM")[0]


def _document(name: str, data: bytes) -> object:
    if name.endswith((".yaml", ".json")) and not is_chart_template(name):
        return documents(name, data)
    if name == INSTALLER:  # the program is the same for all; what it is told differs
        return shlex.split(facts(data.decode()), comments=True)
    return parse_unit(data) if is_unit(name) else data.decode().splitlines()
