"""The same bill of materials as SPDX 2.3 (ISO/IEC 5962), for those who ask for that form.

Made from the CycloneDX document alone, so that the two can never say different things. SPDX 2.3 has
no model card: quality and inputs stand in the CycloneDX document only.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packager import __version__

_Component = Mapping[str, Any]
_PURPOSES = {
    "container": "CONTAINER",
    "library": "LIBRARY",
    "application": "APPLICATION",
    "operating-system": "OPERATING-SYSTEM",
}
_DOCUMENT = "SPDXRef-DOCUMENT"
NONE = "NOASSERTION"


def spdx(bom: Mapping[str, Any]) -> dict[str, Any]:
    """An SPDX 2.3 document that says what a CycloneDX document of ours (`sbom.py`) says."""
    image = bom["metadata"]["component"]
    parts = [image, *_flattened(bom["components"])]
    names = {part["bom-ref"]: _identifier(number, part) for number, part in enumerate(parts)}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": f"{image['name']} {image['version']}",
        "documentNamespace": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, bom['serialNumber'])}",
        "creationInfo": {
            "created": bom["metadata"]["timestamp"],
            "creators": [f"Tool: packager-{__version__}"],
        },
        "packages": [_package(part, names[part["bom-ref"]]) for part in parts],
        "relationships": [
            _related(_DOCUMENT, "DESCRIBES", names[image["bom-ref"]]),
            *_relationships(bom, names),
        ],
    }


def _flattened(components: Sequence[_Component]) -> Iterator[_Component]:
    """Each component once; the model that another one was made from comes after it."""
    for component in components:
        yield component
        yield from component.get("pedigree", {}).get("ancestors", ())


def _package(part: _Component, identifier: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "SPDXID": identifier,
        "name": part["name"],
        "downloadLocation": NONE,
        "filesAnalyzed": False,
        "licenseConcluded": NONE,
        "licenseDeclared": NONE,
        "copyrightText": NONE,
        "primaryPackagePurpose": _PURPOSES.get(part["type"], "OTHER"),
    }
    if version := part.get("version"):
        described["versionInfo"] = version
    for entry in part.get("licenses", ()):
        if "expression" in entry:
            described["licenseDeclared"] = entry["expression"]
        else:
            described["licenseComments"] = f"as declared: {entry['license']['name']}"
    if hashes := part.get("hashes"):
        described["checksums"] = [
            {"algorithm": "SHA256", "checksumValue": entry["content"]} for entry in hashes
        ]
    if located := part.get("purl"):
        described["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": located,
            }
        ]
    if part["type"] in ("machine-learning-model", "data"):
        said = [f"{entry['name']}={entry['value']}" for entry in part.get("properties", ())]
        described["comment"] = "; ".join([part["type"], *said])
    return described


def _relationships(bom: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[dict[str, str]]:
    image = bom["metadata"]["component"]["bom-ref"]
    for entry in bom["dependencies"]:
        kind = "CONTAINS" if entry["ref"] == image else "DEPENDS_ON"
        for other in entry["dependsOn"]:
            yield _related(names[entry["ref"]], kind, names[other])
    for part in bom["components"]:
        for ancestor in part.get("pedigree", {}).get("ancestors", ()):
            yield _related(names[part["bom-ref"]], "GENERATED_FROM", names[ancestor["bom-ref"]])
        if part["type"] == "data" and (model := _model_of(part["bom-ref"])) in names:
            yield _related(names[part["bom-ref"]], "DATA_FILE_OF", names[model])


def _model_of(reference: str) -> str:
    """The model that a part belongs to: `model`, or with name and version where there are several,
    as in `samples:<name>/<version>`."""
    _, several, which = reference.partition(":")
    return "model" + several + "/".join(which.split("/")[:2])


def _related(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _identifier(number: int, part: _Component) -> str:
    """Letters, digits, dots and dashes only; the number keeps different parts apart."""
    return f"SPDXRef-{number}-{re.sub(r'[^A-Za-z0-9.]+', '-', part['name']).strip('-')}"
