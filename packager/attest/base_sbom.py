"""The base in the bill of materials: the image itself by digest, and what its own records list.

Nobody vouches for those records: a package stands there because the base's database says so, with
no digest of ours. Where the base has no database that is read here, the document says that the list
is incomplete (CycloneDX 1.6, "compositions"), so that nobody takes silence for emptiness.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from packager.attest import purl
from packager.domain.base import Base, BasePackage

BASE = "base"
_ORIGIN = "packager:from"


def base_components(base: Base, known: Collection[str]) -> list[dict[str, Any]]:
    """The base, and its packages save those that are `known` by the same package URL."""
    packages = {purl.base_package(one): one for one in base.contents.packages}
    return [
        _image(base),
        *(_package(url, packages[url]) for url in sorted(packages) if url not in known),
    ]


def base_composition(base: Base) -> list[dict[str, Any]]:
    """Whether the packages of the base are all that is in it, as far as its records go."""
    aggregate = "unknown" if base.contents.complete else "incomplete"
    return [{"aggregate": aggregate, "assemblies": [BASE]}]


def of_base(component: Mapping[str, Any]) -> bool:
    """Whether a component came with the base."""
    return any(entry["name"] == _ORIGIN for entry in component.get("properties", ()))


def _image(base: Base) -> dict[str, Any]:
    layers, contents = base.layers, base.contents
    told = {
        "base.digest": str(layers.digest),
        "base.distribution": contents.distribution or "not told",
        "base.packages-read-from": ", ".join(contents.records)
        or "nothing: the base has no package database that is read here; its content is not listed",
        "base.packages-not-read-from": ", ".join(contents.unread) or "none",
        "base.hidden": ", ".join(contents.cleared) or "nothing",
    }
    return {
        "type": "container",
        "bom-ref": BASE,
        "name": layers.name,
        "version": str(layers.manifest),
        "hashes": [{"alg": "SHA-256", "content": layers.manifest.hex}],
        "purl": purl.base(layers),
        "properties": [
            {"name": _ORIGIN, "value": BASE},
            *({"name": f"packager:{name}", "value": value} for name, value in told.items()),
        ],
    }


def _package(url: str, package: BasePackage) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "properties": [{"name": _ORIGIN, "value": BASE}],
    }
