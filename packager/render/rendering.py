"""Renders one target: a file for every template of its platform.

A template that comes out empty gives no file, so that one template can decide to be left out. What
stands in `kustomization.yaml` follows from the files that came out. `INSTANCE` in a template's name
becomes the target's: units of several releases lie side by side in one folder of the site.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.render.context import make_context
from packager.render.images import documents, images_named, is_chart_template
from packager.render.installer import NAME as INSTALLER
from packager.render.installer import installer, serves
from packager.render.settings import Settings
from packager.render.templating import Templates, is_json, is_yaml
from packager.resources import data_folder

__all__ = ["images_named", "render_target"]

_KUSTOMIZATION = "kustomization.yaml"
_INSTANCE = "INSTANCE"


def render_target(
    built: BuiltTarget,
    request: ReleaseRequest,
    *,
    templates: Path | None = None,
    public_key: bytes | None = None,
    settings: Settings | None = None,
) -> dict[str, bytes]:
    """The files of `targets/<jurisdiction>/<hardware>/<platform>/`, by path within it.

    `public_key` (PEM) is what the site's engine shall demand of the image; policy files are left
    out without one; `settings` are the operator's own figures. `templates` is the user's folder,
    laid out like the built-in one: `kubernetes/base/service.yaml.j2` there replaces that one file,
    a new name adds a file. Raises InputError when a template cannot be rendered, its result is no
    YAML, or the platform cannot express what the target needs.
    """
    available = Templates(data_folder("templates"), built.plan.name.platform, templates)
    context = make_context(built, request, public_key, settings)
    variables = context.variables()
    rendered: dict[str, bytes] = {}
    for name in sorted(available.names, key=_is_kustomization):  # those come last
        told = {**variables, "resources": _beside(name, rendered)}
        if data := _data(available.render(name, told)):
            rendered[name.replace(_INSTANCE, context.instance)] = data
    for name in rendered:
        if (is_yaml(name) or is_json(name)) and not is_chart_template(name):
            documents(name, rendered[name])
    if serves(built.plan.name.platform):
        rendered[INSTALLER] = installer(built, context)
    return dict(sorted(rendered.items()))


def _is_kustomization(name: str) -> bool:
    return PurePosixPath(name).name == _KUSTOMIZATION


def _beside(name: str, rendered: Mapping[str, bytes]) -> tuple[str, ...]:
    """The other YAML files in the folder of `name`."""
    folder = PurePosixPath(name).parent
    return tuple(
        PurePosixPath(other).name
        for other in sorted(rendered)
        if is_yaml(other) and PurePosixPath(other).parent == folder
    )


def _data(text: str) -> bytes:
    """The text with one final newline; nothing for a template that came out empty."""
    return f"{text.strip(chr(10))}\n".encode() if text.strip() else b""
