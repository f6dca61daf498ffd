"""The numbers of the border in one run, each beside its bound; those that fail are printed too.

    python -m benchmarks.border.criteria [speed] [delta] [install] [memory]     (default: all)

speed    making and verifying a bundle of 1 GiB, beside cp + sync + sha256sum
delta    a fine-tune of 128 MiB, beside zstd, xdelta3 and bsdiff; and new weights
install  our own seconds of an installation, on Docker and podman, by dash, ash and python
memory   memory and room on the disk with a bundle of 10 GiB

Ratios are of runs side by side. What was seen goes into `results/criteria.json`, a section each,
with the commit that it was seen on. The exit status is 1 when a figure misses its bound.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.border import bundle_speed, delta_size, install_time, memory
from benchmarks.border.figures import Figure

RESULTS = Path(__file__).parent / "results/criteria.json"
INSTALLED_MIB = 256


def installs() -> Iterator[Figure]:
    """Each engine by each way, once."""
    for engine, by in install_time.WAYS:
        yield install_time.figure(engine, by, INSTALLED_MIB)


SECTIONS: Mapping[str, Callable[[], Iterator[Figure]]] = {
    "speed": bundle_speed.figures,
    "delta": delta_size.figures,
    "install": installs,
    "memory": memory.figures,
}


def main(words: Sequence[str]) -> int:
    """Measures what the words name; 1 when something failed."""
    if unknown := sorted(set(words) - set(SECTIONS)):
        raise SystemExit(f"no section {', '.join(unknown)}: {', '.join(SECTIONS)}")
    failed = 0
    for name, section in SECTIONS.items():
        if words and name not in words:
            continue
        print(f"── {name} ──", flush=True)
        found = []
        for figure in section():
            print(figure, flush=True)
            found.append(figure)
        _keep(name, found)
        failed += sum(figure.verdict == "FAILS" for figure in found)
    print(f"{failed} missed" if failed else "all hold")
    return int(failed > 0)


def _keep(name: str, found: Sequence[Figure]) -> None:
    kept = json.loads(RESULTS.read_bytes()) if RESULTS.exists() else {}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True
    ).stdout.strip()
    kept[name] = {"commit": commit, "figures": [figure.as_dict() for figure in found]}
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
