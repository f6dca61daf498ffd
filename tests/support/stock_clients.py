"""Clients that others made, each in a process of its own, since protobuf names would clash.

The interpreter comes from `$PACKAGER_CLIENTS_PYTHON` (an environment with `tritonclient[http,grpc]`
and `openai`), else this one when it has them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


def client_python(module: str) -> str:
    """The interpreter that has `module`; skips, or fails where engines are required, without."""
    python = os.environ.get("PACKAGER_CLIENTS_PYTHON", sys.executable)
    probe = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
    if probe.returncode:
        if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1":
            pytest.fail(f"{python} has no {module}")
        pytest.skip(f"{python} has no {module}; set PACKAGER_CLIENTS_PYTHON")
    return python


def run_client(script: str, module: str, *arguments: str) -> dict[str, Any]:
    """Run a script beside this file and return the JSON that it prints; skips without `module`."""
    python = client_python(module)
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
