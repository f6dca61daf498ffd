"""What the capacity model and the rehearsal were held to: the real server, by benchmarks/place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from packager.resources import data_folder

FILE = data_folder("targets") / "placement" / "capacity-checked.json"


def checked() -> Mapping[str, Any]:
    """`where`, and rows of 95th percentiles `measured_p95_ms` and `predicted_p95_ms`, medians over
    `trials`, and of the `ratio` of each pair: under `load` by model and load, under `spikes` by
    model, spike and phase."""
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """How far off they were, in one sentence."""
    return (
        f"the capacity model was within {_worst(found['load'])} % of the real server's p95 at 50, "
        f"70 and 90 % load, the rehearsal within {_worst(found['spikes'])} % of it in a tenfold "
        f"spike, for three models ({found['where']})"
    )


def _worst(rows: list[dict[str, float]]) -> int:
    return max(round(100 * abs(row["ratio"] - 1)) for row in rows)
