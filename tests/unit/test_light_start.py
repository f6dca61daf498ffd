"""Who verifies does not wait for what only building needs."""

from __future__ import annotations

import subprocess
import sys

from small_release import make_release

HEAVY = ("numpy", "onnx", "onnxruntime", "jinja2", "requests")
VERIFY = """
import sys
from packager.cli.main import main
status = main(sys.argv[1:])
print(status, *sorted(set({heavy!r}) & set(sys.modules)))
"""


def test_verifying_loads_no_optimizer_no_templates_and_no_http(tmp_path):
    release = make_release(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", VERIFY.format(heavy=HEAVY), "verify", release.folder,
         "--key", release.public_file, "-q"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0"
