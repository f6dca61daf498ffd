"""The wheel, installed in a bare virtual environment outside the checkout, does the main job."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.network
ROOT = Path(__file__).resolve().parents[2]
ASK = "import os, urllib.request as u; print(u.urlopen(os.environ['PACKAGER_URL'] + '/v2').read())"


def run(*command: object, cwd: Path, **env: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_wheel_builds_verifies_and_runs_the_example(release, tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("packager-*.whl")
    venv.create(tmp_path / "bare", with_pip=True)
    binaries = tmp_path / "bare" / "bin"
    run(binaries / "pip", "install", "-q", f"{wheel}[local]", cwd=tmp_path)
    packager = binaries / "packager"

    where = run(
        binaries / "python", "-c", "import packager; print(packager.__file__)", cwd=tmp_path
    )
    assert str(tmp_path) in where
    run(
        packager, "build", release.source / "release.yaml", "--key", release.key,
        "-o", tmp_path / "out", "-q", cwd=tmp_path,
    )  # fmt: skip
    run(packager, "verify", tmp_path / "out", "--key", release.public, cwd=tmp_path)
    answer = run(
        packager, "run", tmp_path / "out", "--key", release.public, "--engine", "process", "-q",
        "--", binaries / "python", "-c", ASK, cwd=tmp_path,
    )  # fmt: skip
    assert "packager-runtime" in answer
    # The same inputs give the same release, whichever way the tool was installed.
    assert (tmp_path / "out" / "release.json").read_bytes() == (
        release.folder / "release.json"
    ).read_bytes()
