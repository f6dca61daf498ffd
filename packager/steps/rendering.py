"""Render the manifests of every target and hold them to the release's images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.errors import PackagerError
from packager.progress import Progress
from packager.render.rendering import images_named, render_target
from packager.render.settings import Settings
from packager.workspace import write_atomically


def render(
    request: ReleaseRequest,
    built: Sequence[BuiltTarget],
    templates: Path | None,
    public_key: bytes,
    release: Path,
    progress: Progress,
    settings: Settings | None = None,
) -> None:
    """Write `targets/<jurisdiction>/<hardware>/<platform>/…`; policies demand `public_key` (PEM).

    Raises PackagerError when the images that the manifests name are not the target's own by digest
    and that one alone, which a user's own template could bring about.
    """
    for target in built:
        progress.step(f"render {target.plan.name}")
        rendered = render_target(
            target, request, templates=templates, public_key=public_key, settings=settings
        )
        named = images_named(rendered)
        if named != {target.pinned_reference}:
            raise PackagerError(
                "the manifests name an image that is not the target's own"
                if named - {target.pinned_reference}
                else "no manifest names the target's image",
                where=target.folder,
                expected=target.pinned_reference,
                got=", ".join(sorted(named)) or "none",
                next_step="mend the template given with --templates",
            )
        for name, data in rendered.items():
            write_atomically(release / target.folder / name, data)
