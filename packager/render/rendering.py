"""Renders one target: a file for every template of its platform.

A template that comes out empty gives no file, so that one template can decide to be left out. What
stands in `kustomization.yaml` follows from the files that came out. `INSTANCE` in a template's name
becomes the target's: units of several releases lie side by side in one folder of the site.
"""

from __future__ import annotations

from pathlib import Path

from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.render.context import make_context
from packager.render.images import documents, images_named
from packager.render.installer import NAME as INSTALLER
from packager.render.installer import installer, serves
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
) -> dict[str, bytes]:
    """The files of `targets/<jurisdiction>/<hardware>/<platform>/`, by path within it.

    `public_key` (PEM) is what the site's engine shall demand of the image; policy files are left
    out without one. `templates` is the user's folder, laid out like the built-in one:
    `kubernetes/service.yaml.j2` there replaces that one file, a new name adds a file. Raises
    InputError when a template cannot be rendered, its result is no YAML, or the platform cannot
    express what the target needs.
    """
    available = Templates(data_folder("templates"), built.plan.name.platform, templates)
    context = make_context(built, request, public_key)
    variables = context.variables()
    rendered: dict[str, bytes] = {}
    for name in (name for name in available.names if name != _KUSTOMIZATION):
        if data := _data(available.render(name, variables)):
            rendered[name.replace(_INSTANCE, context.instance)] = data
    if _KUSTOMIZATION in available.names:
        resources = tuple(name for name in sorted(rendered) if is_yaml(name) and "/" not in name)
        told = {**variables, "resources": resources}
        rendered[_KUSTOMIZATION] = _data(available.render(_KUSTOMIZATION, told))
    for name in rendered:
        if is_yaml(name) or is_json(name):
            documents(name, rendered[name])
    if serves(built.plan.name.platform):
        rendered[INSTALLER] = installer(built, context)
    return dict(sorted(rendered.items()))


def _data(text: str) -> bytes:
    """The text with one final newline; nothing for a template that came out empty."""
    return f"{text.strip(chr(10))}\n".encode() if text.strip() else b""
