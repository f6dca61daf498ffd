"""Runs `packager` as its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run `packager` as its own process; the test fails with its story when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "packager", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
