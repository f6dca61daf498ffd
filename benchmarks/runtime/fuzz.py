"""Fuzzing of REST, HTTP/2 and gRPC: `python -m benchmarks.runtime.fuzz [--seconds 1800]`.

Outcome and corpus (the first input for each new answer, base64) go to `results/` beside this file;
exit code 1 when something was wrong. What is done, and what is wrong: `tests/support/fuzzing.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from fuzzing import fuzz

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, corpus = fuzz(Path(folder), options.seconds, options.seed)
    print(json.dumps(found, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "fuzz.json").write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    lines = [json.dumps({"answer": key, "input": value}) for key, value in sorted(corpus.items())]
    (RESULTS / "fuzz-corpus.jsonl").write_text("\n".join(lines) + "\n")
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
