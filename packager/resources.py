"""Finds `templates/`, `targets/` and the runtime's files, wherever the package was installed.

In an installed wheel the two top-level folders travel as `packager/_data/`; in a checkout and in an
editable install they stand beside the package.
"""

from __future__ import annotations

from pathlib import Path

from packager.errors import PackagerError

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """The folder `templates` or `targets`; raises PackagerError when the installation lacks it."""
    for candidate in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise PackagerError(
        f"the installation lacks its folder {name!r}",
        where=str(_PACKAGE),
        next_step="install packager again from where you have it, with --force-reinstall",
    )


def runtime_files() -> list[tuple[str, Path]]:
    """The runtime's source files as (path relative to the package, file), sorted."""
    root = _PACKAGE / "runtime"
    found = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted((path.relative_to(root).as_posix(), path) for path in found)
