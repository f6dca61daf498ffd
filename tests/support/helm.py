"""Helm itself for the tests: the library of its own Go code, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import missing

_PROGRAM = Path(__file__).parents[1] / "peers" / "helm_sdk.py"
_PYTHON = Path(os.environ.get("PACKAGER_HELM_PYTHON", "/var/lib/packager-helm/bin/python"))


class HelmRefused(Exception):
    """Helm said no; its own words."""


@dataclass(frozen=True)
class Helm:
    """`helm("lint", chart=…)` and so on: the verbs of `tests/peers/helm_sdk.py`."""

    python: Path

    def __call__(self, verb: str, **asked: Any) -> Any:
        text = json.dumps({"verb": verb, **asked}, default=str)
        done = subprocess.run(
            [self.python, _PROGRAM], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        if "refused" in told:
            raise HelmRefused(told["refused"])
        return told["answer"]


def helm() -> Helm:
    """Helm; skips, or fails where engines are required, when it is not installed."""
    if not _PYTHON.exists():
        missing(f"{_PYTHON} does not exist: python3 -m venv, then pip install helm-python-sdk")
    return Helm(_PYTHON)
