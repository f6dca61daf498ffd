"""Judges what was measured: `python -m benchmarks.place.telling --load FILE --spikes FILE`.

Medians over trials of what the real server did and what was predicted; `--write` keeps them where
`packager plan` shows them. Exits 1 when one is off by more than 25 %, in the median of the trials.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.place.capacity import LOADS, service_of
from benchmarks.place.spike import simulated
from packager.optimize.measuring import host
from packager.place.capacity import Queue
from packager.place.checked import FILE

BOUND = 0.25
Rows = list[dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--spikes", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    told = {
        "where": f"measured on {host()}, one core for the server",
        "load": load_rows(_lines(asked.load)),
        "spikes": spike_rows(_lines(asked.spikes)),
    }
    text = json.dumps(told, indent=1) + "\n"
    if asked.write:
        FILE.write_text(text)
    print(text)
    off = [row for row in told["load"] + told["spikes"] if abs(row["ratio"] - 1) > BOUND]
    for row in off:
        print("beyond the bound:", row, file=sys.stderr)
    return 1 if off else 0


def load_rows(found: Rows) -> Rows:
    """One row for each model and load."""
    rows = []
    for model in sorted({one["model"] for one in found}):
        for load in LOADS:
            trials = [
                (one, row)
                for one in found
                if one["model"] == model
                for row in one["rows"]
                if row["load"] == load
            ]
            pairs = [(row["p95_ms"], _predicted(one, row)) for one, row in trials]
            rows.append({"model": model, "load": load, **_compared(pairs)})
    return rows


def _predicted(found: dict[str, Any], row: dict[str, Any]) -> float:
    rate = sum(row["saturated_per_s"]) / 2
    return Queue.of(service_of(found, rate)).percentile_ms(row["asked_per_s"] / rate, 0.95)


def spike_rows(found: Rows) -> Rows:
    """One row for each model, spike and phase."""
    groups: dict[tuple[str, str, str], list[tuple[dict[str, float], dict[str, float]]]] = {}
    for one in found:
        for row in one["rows"]:
            played = simulated(one, row)
            for phase, real in row["real"].items():
                groups.setdefault((one["model"], row["spike"], phase), []).append(
                    (real, played[phase])
                )
    return [
        {
            "model": model,
            "spike": spike,
            "phase": phase,
            **_compared([(real["p95_ms"], sim["p95_ms"]) for real, sim in pairs]),
            "measured_shed": _median(real["shed"] for real, _ in pairs),
            "predicted_shed": _median(sim["shed"] for _, sim in pairs),
        }
        for (model, spike, phase), pairs in sorted(groups.items())
    ]


def _compared(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of what was measured and predicted, and of the ratio of each pair: a prediction is
    for the speed that the machine had in its trial."""
    return {
        "trials": len(pairs),
        "measured_p95_ms": _median(measured for measured, _ in pairs),
        "predicted_p95_ms": _median(predicted for _, predicted in pairs),
        "ratio": _median(predicted / measured for measured, predicted in pairs),
    }


def _median(values: Iterable[float]) -> float:
    return round(median(values), 3)


def _lines(file: Path) -> Rows:
    return [json.loads(line) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    sys.exit(main())
