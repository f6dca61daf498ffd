"""The images that rendered manifests name, found by reading the manifests themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

from packager.errors import InputError
from packager.render.templating import is_unit, is_yaml

_UNIT_IMAGE = re.compile(r"^[ \t]*Image[ \t]*=[ \t]*(?P<reference>.*?)[ \t]*$", re.MULTILINE)
_TEMPLATE_IMAGE = re.compile(
    r"^[ \t]*(?:-[ \t]+)?image:[ \t]*(?P<reference>.*?)[ \t]*$", re.MULTILINE
)
_KUSTOMIZATION = "kustomization.yaml"


def images_named(rendered: Mapping[str, bytes]) -> set[str]:
    """Every image reference in YAML files and units, whatever the kind of object that holds it.

    Counts `image:` of containers and services, `image.reference` of volumes, what a kustomization's
    `images:` would put in their place, and `Image=` of units. Raises InputError where a file that
    should be YAML is none.
    """
    in_text = {
        match["reference"].strip("\"'")
        for name, data in rendered.items()
        for pattern in _patterns(name)
        for match in pattern.finditer(data.decode())
    }
    return in_text | {
        reference
        for name, data in rendered.items()
        if is_yaml(name) and not is_chart_template(name)
        for document in documents(name, data)
        for reference in (
            *_references(document),
            *(_replacements(document) if PurePosixPath(name).name == _KUSTOMIZATION else ()),
        )
    }


_LOADER: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def is_chart_template(name: str) -> bool:
    """Whether Helm makes YAML of it, which it therefore is not yet."""
    return name.startswith("templates/")


def _patterns(name: str) -> Iterator[re.Pattern[str]]:
    if is_unit(name):
        yield _UNIT_IMAGE
    if is_chart_template(name):
        yield _TEMPLATE_IMAGE


def documents(name: str, data: bytes) -> list[Any]:
    """The documents of one rendered file. Raises InputError with the line that is no YAML."""
    try:
        return [document for document in yaml.load_all(data, _LOADER) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            "a rendered manifest is no YAML",
            where=f"{name}: line {mark.line + 1}" if mark else name,
            got=str(getattr(error, "problem", None) or error),
            next_step="mend the template of that name in the folder given with --templates",
        ) from error


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key == "image" and isinstance(value, dict) and "reference" in value:
                yield str(value["reference"])
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _replacements(document: object) -> Iterator[str]:
    entries = document.get("images", ()) if isinstance(document, dict) else ()
    for entry in entries:
        reference = str(entry.get("newName", entry.get("name")))
        if "digest" in entry:
            yield f"{reference}@{entry['digest']}"
        elif "newTag" in entry:
            yield f"{reference}:{entry['newTag']}"
        else:
            yield reference
