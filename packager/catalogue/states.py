"""Another state of the catalogue: last year's profiles, or those of a law that is only planned."""

from __future__ import annotations

from pathlib import Path

from packager.catalogue.catalogue import Catalogue, load_catalogue
from packager.errors import InputError
from packager.resources import data_folder


def open_state(folder: Path) -> Catalogue:
    """The catalogue that a folder of profiles stands for.

    A folder with a built-in profile's id in it is a whole catalogue; any other one extends the
    built-in catalogue, as with --targets. Raises InputError when there are no profiles.
    """
    if not (folder / "jurisdictions").is_dir():
        raise InputError(
            "there is no such folder of profiles",
            where=str(folder),
            expected="a folder with jurisdictions/ in it",
        )
    built_in = {file.stem for file in (data_folder("targets") / "jurisdictions").glob("*.yaml")}
    whole = built_in & {file.stem for file in (folder / "jurisdictions").glob("*.yaml")}
    return load_catalogue(built_in=folder) if whole else load_catalogue(folder)
