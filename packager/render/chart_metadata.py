"""What a rendered chart says about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from packager.errors import InputError
from packager.render.images import documents

CHART = "Chart.yaml"
# As Helm takes it: lower case, since the name ends a repository's.
_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
# A version is the tag as well; Helm writes `+` as `_` there, and we have none.
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,127}")


def chart_metadata(files: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """`Chart.yaml` of a rendered chart. Raises InputError when it does not say what it is."""
    match documents(CHART, files.get(CHART, b"")):
        case [{"apiVersion": "v2", "name": str(name), "version": str(version)} as found] if (
            _NAME.fullmatch(name) and _VERSION.fullmatch(version) and _is_json(found)
        ):
            return dict(found)
        case _:
            raise InputError(
                "the rendered chart does not say what it is",
                where=f"{where}/{CHART}",
                expected="apiVersion v2, a name in lower case, a version, and texts",
                next_step="mend helm/Chart.yaml.j2 in the folder given with --templates",
            )


def _is_json(found: object) -> bool:
    """Whether it is more than YAML alone can say, such as a date."""
    try:
        json.dumps(found)
    except (TypeError, ValueError):
        return False
    return True
