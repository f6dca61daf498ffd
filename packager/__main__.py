"""`python -m packager` and the console script."""

from __future__ import annotations

import os
import sys

# Before anything can import ONNX Runtime: its telemetry reads this variable once, when it loads.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def main() -> None:
    """Run the command line and exit with its code."""
    from packager.cli.main import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
