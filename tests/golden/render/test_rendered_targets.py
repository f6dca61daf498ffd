"""Rendered targets against golden files, compared as documents.

One golden file holds one machine on one platform, for every jurisdiction (`golden_targets`). After
a change that is meant, write them again with `python tests/golden/render/rewrite.py`, and read the
difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from golden_targets import PAIRS, golden, golden_name

FOLDER = Path(__file__).parent
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.mark.parametrize(("machine", "platform"), PAIRS, ids=[golden_name(*pair) for pair in PAIRS])
def test_a_machine_is_rendered_as_its_golden_file_says(machine, platform):
    path = FOLDER / f"{golden_name(machine, platform)}.yaml"
    kept = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    assert golden(machine, platform) == kept


def test_there_is_no_golden_file_without_a_target():
    kept = {path.stem for path in FOLDER.glob("*.yaml")}
    assert kept == {golden_name(*pair) for pair in PAIRS}


def test_another_machine_that_renders_gives_the_same(monkeypatch):
    """Nothing of the machine is asked: not its processor, its devices, its name or its tools."""
    import os
    import platform as machine_of
    import socket
    import subprocess

    def asked(*arguments, **named):
        raise AssertionError(f"the renderer asked this machine: {arguments}")

    before = golden("nvidia-l4", PAIRS[0][1])
    for module, name in (
        (subprocess, "Popen"),
        (machine_of, "machine"),
        (machine_of, "uname"),
        (socket, "gethostname"),
        (os, "cpu_count"),
        (os, "uname"),
        (os, "getenv"),
    ):
        monkeypatch.setattr(module, name, asked)
    assert golden("nvidia-l4", PAIRS[0][1]) == before
