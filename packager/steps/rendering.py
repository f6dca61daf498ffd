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

    Raises PackagerError when a manifest names an image that is not the target's own by digest,
    which a user's own template could bring about.
    """
    for target in built:
        progress.step(f"render {target.plan.name}")
        rendered = render_target(
            target, request, templates=templates, public_key=public_key, settings=settings
        )
        strangers = images_named(rendered) - {target.pinned_reference}
        if strangers:
            raise PackagerError(
                "a manifest names an image that is not the target's own",
                where=target.folder,
                expected=target.pinned_reference,
                got=", ".join(sorted(strangers)),
                next_step="mend the template given with --templates",
            )
        for name, data in rendered.items():
            write_atomically(release / target.folder / name, data)
