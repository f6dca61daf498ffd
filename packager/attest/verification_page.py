"""What was verified, as a file for the auditor: JSON, or one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packager import __version__
from packager.canonical import dumps_readable
from packager.errors import Finding, InputError
from packager.resources import data_folder

FORMS = (".json", ".html")


def refuse_other_form(path: Path) -> None:
    """Raises InputError for a file of a form that no report has, before anything is verified."""
    if path.suffix not in FORMS:
        raise InputError(
            "a report is JSON or HTML",
            where=str(path),
            expected="a name that ends in .json or .html",
        )


def report_file(path: Path, subject: str, report: Mapping[str, Any]) -> bytes:
    """The bytes for `path`; `report` is what a verification's `as_dict` or `refusal` gave."""
    if path.suffix == ".json":
        return dumps_readable({"subject": subject, **report})
    from jinja2 import Environment, FileSystemLoader, Undefined  # nothing else here needs it

    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("verification.html.j2")
    return page.render(report=report, subject=subject, version=__version__).encode()


def refusal(findings: Sequence[Finding]) -> dict[str, Any]:
    """A report of what was refused."""
    return {"verified": False, "findings": [finding.as_dict() for finding in findings]}
