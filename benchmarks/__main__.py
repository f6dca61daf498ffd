"""Every benchmark that this machine can run, one after the other: `make bench`.

    python -m benchmarks --list
    python -m benchmarks [FAMILY | FAMILY.NAME …]

Each is a module `benchmarks/FAMILY/NAME.py` that can be run alone and that says in its docstring
what it compares and what it needs. One that fails does not keep the others from running; the last
lines say how each came out, and the exit status is 1 when one failed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent
# What nobody can start without more: a device, or models that are downloaded by hand.
BY_HAND: Mapping[str, str] = {
    "generative.compare": "needs an environment with the other engines, see its docstring",
    "optimize.beside_olive": "needs Olive's environment and a model's folder",
    "optimize.large_model": "needs a folder, and 10 GB of memory and disk",
    "optimize.olive_mend": "is part of beside_olive, for Olive's environment",
    "optimize.train": "is part of criteria, for an environment with torch",
    "place.capacity": "needs a folder for its releases",
    "place.spike": "needs a folder for its releases",
    "place.telling": "needs what place.capacity and place.spike measured",
    "optimize.gpu_candidates": "needs an NVIDIA GPU",
    "optimize.real_models": "needs folders of models, see its docstring",
    "optimize.steady": "wants the machine for minutes and loads it",
    "trust.fuzz": "needs atheris, and half a minute for each of 19 parsers",
}


def found() -> dict[str, str]:
    """`family.name` → the first line of its docstring, for all that can be run."""
    modules = {}
    for file in sorted(ROOT.glob("*/*.py")):
        text = file.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            told = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
            modules[f"{file.parent.name}.{file.stem}"] = told
    return modules


def chosen(words: Sequence[str]) -> list[str]:
    """The benchmarks that the words name; all that need nothing by hand when there are none."""
    modules = found()
    if not words:
        return [name for name in modules if name not in BY_HAND]
    names = [name for name in modules if name in words or name.partition(".")[0] in words]
    known = set(modules) | {name.partition(".")[0] for name in modules}
    if unknown := sorted(set(words) - known):
        raise SystemExit(f"there is no benchmark {', '.join(unknown)}: see --list")
    return [name for name in names if name in words or name not in BY_HAND]


def run(name: str) -> tuple[int, float]:
    """Exit status and seconds of one; what it prints goes where ours goes."""
    print(f"\n── {name} ──", flush=True)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT.parent, check=False
    )
    return done.returncode, time.monotonic() - start


def main(words: Sequence[str]) -> int:
    """Runs what the words name."""
    if "--list" in words:
        for name, told in found().items():
            by_hand = f" [{BY_HAND[name]}]" if name in BY_HAND else ""
            print(f"{name:28} {told}{by_hand}")
        return 0
    results = {name: run(name) for name in chosen(words)}
    print("\n── results ──")
    for name, (status, seconds) in results.items():
        print(f"{name:28} {'done' if status == 0 else f'FAILED ({status})':12} {seconds:7.1f} s")
    return int(any(status for status, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
