"""A whole layout, images of both architectures and their index, is the same bytes for ever.

The large form, ten builds by two Pythons, is `benchmarks/assemble/ten_builds.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Of every file's digest, mode and name. It changes when the layer writer, the pinned compressor,
# the manifest or the index does, which is to be told in the CHANGELOG: all layers change with it.
GOLDEN = "sha256:b197efc2a836467980e342c79130bd3961512d95f688e34be70628e06406f1a5"
PROGRAM = Path(__file__).parents[2] / "support" / "golden_layout.py"


@pytest.mark.parametrize(
    ("seed", "umask", "environment"),
    [
        (0, 0o022, {"PYTHONHASHSEED": "0", "TZ": "UTC"}),
        (1, 0o077, {"PYTHONHASHSEED": "42", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}),
        (3, 0o000, {"PYTHONHASHSEED": "7", "LANG": "tr_TR.UTF-8", "PYTHONOPTIMIZE": "1"}),
    ],
)
def test_golden_digest_of_a_whole_layout(tmp_path, seed, umask, environment):
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "a folder", str(seed)],
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == GOLDEN, done.stderr
