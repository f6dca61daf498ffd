"""`packager verify` in a network namespace with nothing in it, not even loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from bundles import make_bundle
from engines import missing
from small_release import SmallRelease, make_release
from tampering import SBOM, flip

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


def verify(path, release: SmallRelease) -> int:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        missing("a network namespace needs root and unshare")
    command = [sys.executable, "-m", "packager", "verify", path, "--key", release.public_file]
    done = subprocess.run(
        ["unshare", "--net", *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode


def test_a_folder_and_a_bundle(release, tmp_path):
    make_bundle(release, tmp_path / "release.tar")
    assert verify(release.folder, release) == 0
    assert verify(tmp_path / "release.tar", release) == 0


def test_refusals_need_no_network_either(release, tmp_path):
    shutil.copytree(release.folder, tmp_path / "release")
    flip(tmp_path / "release" / SBOM)
    assert verify(tmp_path / "release", release) == 4
