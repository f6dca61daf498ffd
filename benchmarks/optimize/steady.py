"""Is the choice the same every time, though others use the machine?

`python -m benchmarks.optimize.steady [--convnet] [--magika] [--minilm FOLDER] [--runs 10] [--load
4] [--out FILE]`: optimizes for latency again and again, each time from nothing, beside as many
processes as `--load` says that do nothing but compute and go through memory. Tells the choices and
what each run measured of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.optimize.batcher import chosen, fitted
from benchmarks.optimize.cases import Case
from benchmarks.optimize.cases.files import magika
from benchmarks.optimize.cases.made import residual
from benchmarks.optimize.cases.text import minilm

BUSY = "import numpy\na = numpy.ones(8_000_000)\nwhile True: a = a * 1.0000001"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path)
    for name in ("convnet", "magika"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--load", type=int, default=4)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    opens: dict[str, Callable[[Path], Case]] = {
        "convnet": lambda room: fitted(room, residual),
        "magika": magika,
        "minilm": lambda room: minilm(asked.minilm, room),
    }
    steady = True
    wanted = [name for name in opens if getattr(asked, name)] or ["convnet"]
    for name, case in opens.items():
        if name in wanted:
            row = repeated(name, case, asked.runs, asked.load)
            print(json.dumps({name: row}, indent=1), flush=True)
            steady = steady and len(row["choices"]) == 1
            if asked.out:
                known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
                asked.out.write_text(json.dumps(known | {name: row}, indent=1) + "\n")
    return 0 if steady else 1


def repeated(name: str, case: Callable[[Path], Case], runs: int, load: int) -> dict[str, Any]:
    told = []
    with busy(load):
        for number in range(runs):
            with tempfile.TemporaryDirectory() as scratch:
                found, _ = chosen(case(Path(scratch, name)))
            told.append(
                {
                    "chosen": found.chosen.name,
                    "measured": {
                        row.name: [row.measurement.speedup, row.measurement.threads]
                        for row in found.candidates
                        if row.measurement
                    },
                }
            )
            print(number, told[-1]["chosen"], os.getloadavg()[0], file=sys.stderr, flush=True)
    return {
        "runs": runs,
        "busy processes beside it": load,
        "load of the machine at the end": round(os.getloadavg()[0], 1),
        "choices": dict(Counter(one["chosen"] for one in told)),
        "each": told,
    }


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes beside us for the while."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


if __name__ == "__main__":
    sys.exit(main())
