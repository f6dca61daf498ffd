"""The sheet of paper in docs/site.md, its commands taken as they are printed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from bundles import make_bundle

SITE_DOC = Path(__file__).parents[3] / "docs" / "site.md"
TARGET = "sa/x86-64-v3/compose"
BUNDLE = "/media/stick/filetype-1.4.0.tar"


def printed(first: int, last: int) -> str:
    """The commands of these steps, with their continued lines."""
    sheet = SITE_DOC.read_text(encoding="utf-8").split("## The sheet of paper")[1].split("```")[1]
    steps = re.split(r"(?m)^\d\. ", sheet)
    lines = [line for step in steps[first : last + 1] for line in step.splitlines()[1:]]
    assert TARGET in "".join(lines)
    return "\n".join(line.strip() for line in lines if line.startswith("     ")) + "\n"


@pytest.fixture(params=["dash", "busybox"])
def shell(request, tmp_path) -> tuple[list[str], dict[str, str]]:
    """GNU's tools with dash; or busybox alone with openssl, as on Alpine."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    if request.param == "dash":
        return ["dash"], {"PATH": os.environ["PATH"]}
    few = tmp_path / "few"
    few.mkdir()
    busybox = shutil.which("busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for name in applets.stdout.split():
        (few / name).symlink_to(busybox)
    (few / "openssl").unlink(missing_ok=True)
    (few / "openssl").symlink_to(shutil.which("openssl"))
    return [busybox, "ash"], {"PATH": str(few)}


@pytest.mark.parametrize("targets", [(), (TARGET,)], ids=["whole", "some"])
def test_a_bundle_is_held_against_the_key_as_it_is_printed(releases, tmp_path, shell, targets):
    release = releases["1.0.0"]
    bundle = make_bundle(release, tmp_path / "a stick.tar", *targets)
    shutil.copy(release.public_file, tmp_path / "site.pub")
    command, environment = shell
    sheet = printed(2, 3).replace(BUNDLE, f"'{bundle.path}'")
    done = subprocess.run(
        [*command, "-e"],
        input=sheet, text=True, capture_output=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told == ["Verified OK", "bound", f"targets/{TARGET}/install.sh: OK"]
