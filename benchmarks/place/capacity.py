"""The capacity model against the real server: `python -m benchmarks.place.capacity`.

For each example a release is built and served. Measured through the server are what a service
record holds, the replies to one client, the saturated rate, and the time of a request after a pause
(at 3 % load), and then the replies to an
open-loop Poisson load at 50, 70 and 90 % of that rate. The speed of a shared machine wanders by ten
percent within a minute, and at 90 % load that is everything. So a load is played in trials of some
seconds, each at its share of the rate that was measured right before, and predicted from the mean
of the rates right before and after it. What is told are medians over trials.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.place.open_loop import Generator, poisson
from benchmarks.place.served import Example, examples, served, undisturbed
from packager.domain.placement import Service

LOADS = (0.5, 0.7, 0.9)
LONE = 0.03
CLIENTS = 32
BURST_S, PAUSE_S = 0.6, 0.2
TRIALS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=Path, required=True, help="a folder that is kept")
    parser.add_argument("--minilm", type=Path, help="the package's folder with model.safetensors")
    parser.add_argument("--only", action="append", help="an example's name")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="of each trial")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--raw", type=Path, required=True, help="measurements, added to the file")
    asked = parser.parse_args()
    for example in examples(asked.releases, asked.minilm):
        if not asked.only or example.name in asked.only:
            for number in range(asked.rounds):
                found = measure(example, asked.seconds, asked.seed + number)
                with asked.raw.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)


def measure(example: Example, seconds: float, seed: int) -> dict[str, Any]:
    """One round on one example."""
    bodies = example.bodies()
    with served(example) as port, undisturbed(), Generator(port) as generator:
        generator.closed(CLIENTS, BURST_S, bodies)
        rate = saturated(generator, bodies)
        client = percentiles(generator.closed(1, 1.5, bodies), (50, 99))
        lone = generator.play(poisson(LONE, 1 / rate, seconds / 2, seed), bodies).reply_ms
        rows = [
            _trial(generator, bodies, load, seconds, seed + 10 * number)
            for number in range(TRIALS)
            for load in LOADS
        ]
    figures = client | {"idle_ms": round(float(np.median(lone)), 3)}
    return {"model": example.name, "batch": example.batch(), "service": figures, "rows": rows}


def _trial(
    generator: Generator, bodies: list[bytes], load: float, seconds: float, seed: int
) -> dict[str, Any]:
    before = saturated(generator, bodies, 1)
    played = generator.play(poisson(load, 1 / before, seconds, seed), bodies)
    after = saturated(generator, bodies, 1)
    return {
        "load": load,
        "asked_per_s": round(load * before, 2),
        "saturated_per_s": [round(before, 2), round(after, 2)],
        "refused": int((~played.answered).sum()),
        **percentiles(played.reply_ms[played.answered], (50, 95, 99)),
    }


def saturated(generator: Generator, bodies: list[bytes], bursts: int = 3) -> float:
    """Replies a second to many clients, the mean of some bursts."""
    rates = []
    for _ in range(bursts):
        rates.append(generator.rate(CLIENTS, BURST_S, bodies))
        time.sleep(PAUSE_S)
    return sum(rates) / bursts


def service_of(found: dict[str, Any], per_second: float) -> Service:
    """The service record of a measurement."""
    figures = found["service"]
    return Service(
        "x86-64-v3",
        figures["p50_ms"],
        figures["p99_ms"],
        per_second,
        "measured through the server",
        found["batch"],
        figures["idle_ms"],
    )


def percentiles(times: Any, which: tuple[int, ...]) -> dict[str, float]:
    return {f"p{one}_ms": round(float(np.percentile(times, one)), 3) for one in which}


if __name__ == "__main__":
    main()
