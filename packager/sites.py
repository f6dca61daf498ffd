"""What happens at a site after an install: roll back, look, remove. Needs no network.

What an installed version's own signed `install.sh` does by hand, it does here too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packager.errors import InputError
from packager.progress import Progress
from packager.site.driving import drive, outcome
from packager.site.history import Record, read_history
from packager.site.profile import Site, read_site
from packager.site.state import INSTALLER, homes

REGISTRY = "oci://"
_SCRIPT_LIMIT = 4 << 20
_COPIES = 2  # an encrypted layer out of a bundle, and the plain one


def rollback(
    site_file: Path, name: str | None, to: str | None, *, dry_run: bool, progress: Progress
) -> dict[str, Any]:
    """Bring a version that is still here into service again; by default the one before."""
    home = _home(read_site(site_file), name)
    arguments: list[str | Path] = ["rollback", "--site", site_file]
    if to:
        arguments += ["--to", to]
    if dry_run:
        arguments.append("--dry-run")
    return outcome(home, drive(home / INSTALLER, arguments, progress), dry_run)


def status(site_file: Path, name: str | None, progress: Progress) -> dict[str, Any]:
    """What is in service, whether it answers, and what else is here."""
    home = _home(read_site(site_file), name)
    told = drive(
        home / INSTALLER, ["status", "--site", site_file, "--json"], progress, fails_with=1
    )
    found: dict[str, Any] = json.loads(told)
    return found


def uninstall(
    site_file: Path, name: str | None, *, purge: bool, dry_run: bool, progress: Progress
) -> str:
    """Remove all versions, the door and the networks; with `purge` the history too."""
    home = _home(read_site(site_file), name)
    options = [word for word, given in (("--purge", purge), ("--dry-run", dry_run)) if given]
    return drive(home / INSTALLER, ["uninstall", "--site", site_file, *options], progress).strip()


def resume(site_file: Path, name: str | None, progress: Progress) -> str:
    """Put in order what a power cut left."""
    home = _home(read_site(site_file), name)
    return drive(home / INSTALLER, ["resume", "--site", site_file], progress).strip()


def history(site_file: Path, name: str | None) -> Sequence[Record]:
    """Every attempt at the site, oldest first; raises VerificationError for a broken chain."""
    return read_history(_home(read_site(site_file), name))


def _home(site: Site, name: str | None) -> Path:
    """The folder of an installed release; there is mostly one, and then no name is needed."""
    found = {home.name: home for home in homes(site.data)}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None or name not in found:
        raise InputError(
            f"{name} is not installed here" if name else "which release is meant?",
            where=str(site.data),
            expected=", ".join(found) or "an installed release",
            next_step="name one of them" if found else "install one: packager install",
        )
    if not (found[name] / INSTALLER).is_file():
        raise InputError(f"{name} was never installed whole here", where=str(found[name]))
    return found[name]
