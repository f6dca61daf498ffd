"""What many tests share: the command line in-process, and one real release of the example.

Tests that use the release run on one worker (`--dist loadgroup`), so that it is built once.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from commands import command

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "filetype"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "release" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("release"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups share addresses and costly things; a runner that scatters them is refused."""
    if not session.config.getoption("loadgroup", False):
        return
    for item in session.items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid} is kept in no group: pytest and xdist disagree")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def packager(capsys, monkeypatch):
    """Run `packager ARGUMENTS…` in this process."""
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: object) -> Outcome:
        from packager.cli.main import main

        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class BuiltRelease:
    """The example, built for real; `source` is a folder of its own with the release file."""

    source: Path
    folder: Path
    key: Path
    public: Path

    @property
    def document(self) -> dict:
        return json.loads((self.folder / "release.json").read_text())


def example_source(into: Path) -> Path:
    """A copy of the example with its model and samples prepared from the installed Magika."""
    pytest.importorskip("magika")
    shutil.copytree(EXAMPLE, into, ignore=shutil.ignore_patterns("out", "keys", "__pycache__"))
    for made in ("model.onnx", "samples.npz"):
        (into / made).unlink(missing_ok=True)
    subprocess.run([sys.executable, "prepare.py"], cwd=into, check=True, capture_output=True)
    # Every eighth sample: the same path through the code in an eighth of the time.
    with np.load(into / "samples.npz") as samples:
        fewer = {name: samples[name][::8] for name in samples.files}
    np.savez(into / "samples.npz", **fewer)
    return into


@pytest.fixture(scope="session")
def release(tmp_path_factory) -> BuiltRelease:
    """The example release: three targets, built once with the user's own cache."""
    base = tmp_path_factory.mktemp("release")
    source = example_source(base / "filetype")
    command("keys", "generate", "-o", base / "site.pem")
    command("lock", source / "release.yaml")
    command("build", source / "release.yaml", "--key", base / "site.pem", "-o", base / "out")
    return BuiltRelease(source, base / "out", base / "site.pem", base / "site.pub")
