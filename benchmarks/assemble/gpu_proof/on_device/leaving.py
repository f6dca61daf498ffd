"""A refusal on the GPU that leaves Python as usual: does the process end? Prints JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from serving import loosened

SECONDS = 15
PROGRAM = """
import faulthandler, sys
faulthandler.dump_traceback_later(10, exit=False)
from packager_runtime.__main__ import main
status = main(sys.argv[1:])
print("refused", status, flush=True)
sys.exit(status)
"""


def main() -> None:
    config = loosened(Path(sys.argv[1]), 0)
    command = [sys.executable, "-c", PROGRAM, "--config", str(config), "--host", "127.0.0.1"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, said = process.communicate(timeout=SECONDS)
        ends = True
    except subprocess.TimeoutExpired:
        process.kill()
        out, said = process.communicate()
        ends = False
    print(
        json.dumps(
            {
                "ends": ends,
                "seconds": round(time.perf_counter() - began, 1),
                "status": process.returncode,
                "out": out[-500:],
                "said": said[-3000:],
            }
        )
    )


if __name__ == "__main__":
    main()
