"""What the server has to stand, at full size: `python -m benchmarks.runtime.stress [NAME…]`.

Prints each outcome and keeps it in `benchmarks/runtime/results/stress.json`. The same functions run
small in `tests/unit/runtime/test_stress.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import stress
from grpc_exactness import grpc_exactness
from grpc_hostile import grpc_hostile

RESULTS = Path(__file__).parent / "results" / "stress.json"
WHAT: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "exactness": lambda folder, _: stress.exactness(folder, 10_000),
    "overload": lambda folder, _: stress.overload(folder, 60),
    "hostile": lambda folder, _: stress.hostile(folder, 10_000, 200, 20),
    "recovery": lambda folder, _: stress.recovery(folder),
    "leaving": lambda folder, _: stress.leaving(folder, 20),
    "grpc-exactness": lambda folder, _: grpc_exactness(folder, 10_000),
    "grpc-overload": lambda folder, _: stress.overload(folder, 60, over="gRPC"),
    "grpc-hostile": lambda folder, _: grpc_hostile(folder, 10_000, 200, 20),
    "grpc-recovery": lambda folder, _: stress.recovery(folder, over="gRPC"),
    "grpc-leaving": lambda folder, _: stress.leaving(folder, 20, over="gRPC"),
    "soak": lambda folder, options: stress.soak(folder, options.soak_seconds),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", metavar="|".join(WHAT))
    parser.add_argument("--soak-seconds", type=float, default=3600)
    options = parser.parse_args()
    for name in options.name or WHAT:
        with tempfile.TemporaryDirectory() as folder:
            found = WHAT[name](Path(folder), options)
        print(name, json.dumps(found, indent=2))
        RESULTS.parent.mkdir(exist_ok=True)
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(known | {name: found}, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
