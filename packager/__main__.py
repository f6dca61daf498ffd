"""`python -m packager` and the console script."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType

# Before anything can import ONNX Runtime: its telemetry reads this variable once, when it loads.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from packager.cli.main import main as run

    # From here on there may be something to clean up: the command line takes SIGTERM over.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run()
    if code == _INTERRUPTED:
        _end(code)
    sys.exit(code)


def _leave(number: int, frame: FrameType | None) -> None:
    """While the commands are loaded nothing has begun, and nobody wants a traceback of imports."""
    del number, frame
    os.write(2, b"interrupted: nothing was published\n")
    os._exit(_INTERRUPTED)


def _end(code: int) -> None:
    """Exit with this code and no other.

    CPython remembers a KeyboardInterrupt that went through code made of text (dataclasses and
    named tuples are, while modules load) and ends itself by SIGINT, although we have handled it.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
