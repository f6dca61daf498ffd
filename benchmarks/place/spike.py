"""A rehearsed tenfold spike against the real server: `python -m benchmarks.place.spike`.

The same arrivals twice: before the replica of `packager.place.rehearsing`, whose service record was
measured through the server a moment before, and before that server. Each
request carries the deadline of the demand (`timeout`), as it does in the simulation. Two spikes:
one that the replica carries (to 80 % of its rate) and one beyond it (to 150 %), which is shed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import simpy

from benchmarks.place.capacity import BURST_S, CLIENTS, LONE, percentiles, saturated, service_of
from benchmarks.place.open_loop import DRAWS, Generator, Played, Times, poisson, waiting
from benchmarks.place.served import Example, examples, served, undisturbed
from packager.place.replica import Model, Replica

SPIKES = {"carried": 0.8, "beyond": 1.5}
FACTOR, CALM_S, RAMP_S, HOLD_S = 10.0, 7.0, 7.0, 14.0
LIMIT_IN_SERVICES = 40
DRAWN = 9
PHASES = {"rise": (CALM_S, CALM_S + RAMP_S), "hold": (CALM_S + RAMP_S, CALM_S + RAMP_S + HOLD_S)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=Path, required=True, help="a folder that is kept")
    parser.add_argument("--minilm", type=Path, help="the package's folder with model.safetensors")
    parser.add_argument("--only", action="append", help="an example's name")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--raw", type=Path, required=True, help="measurements, added to the file")
    asked = parser.parse_args()
    for example in examples(asked.releases, asked.minilm):
        for number in range(asked.rounds):
            if not asked.only or example.name in asked.only:
                found = measure(example, asked.seed + number)
                with asked.raw.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)


def measure(example: Example, seed: int) -> dict[str, Any]:
    """Both spikes on one example: what the real server did. `simulated` is added by `judge`."""
    bodies = example.bodies()
    rows: list[dict[str, Any]] = []
    with served(example) as port, undisturbed(), Generator(port) as generator:
        generator.closed(CLIENTS, BURST_S, bodies)
        rate = saturated(generator, bodies)
        client = percentiles(generator.closed(1, 1.5, bodies), (50, 99))
        lone = generator.play(poisson(LONE, 1 / rate, 6, seed), bodies).reply_ms
        limit_ms = round(LIMIT_IN_SERVICES * 1000 / rate, 1)
        timed = example.bodies(limit_ms)
        for name, top in SPIKES.items():
            before = saturated(generator, bodies)
            played = generator.play(_arrivals(top, before, seed), timed)
            after = saturated(generator, bodies)
            rows.append(
                {
                    "spike": name,
                    "peak_per_s": round(top * before / FACTOR, 3),
                    "saturated_per_s": [round(before, 2), round(after, 2)],
                    "limit_ms": limit_ms,
                    "statuses": _counted(played),
                    "real": {phase: _phase(played, span) for phase, span in PHASES.items()},
                }
            )
    figures = client | {"idle_ms": round(float(np.median(lone)), 3)}
    return {
        "model": example.name,
        "batch": example.batch(),
        "seed": seed,
        "service": figures,
        "rows": rows,
    }


def _counted(played: Played) -> dict[str, int]:
    found, counts = np.unique(played.status, return_counts=True)
    return {str(status): int(count) for status, count in zip(found, counts, strict=True)}


def _phase(played: Played, span: tuple[float, float]) -> dict[str, float]:
    during = (played.at_s >= span[0]) & (played.at_s < span[1])
    answered = during & played.answered
    return {
        "p95_ms": round(float(np.percentile(played.reply_ms[answered], 95)), 2),
        "shed": round(1 - float(answered.sum() / during.sum()), 4),
    }


def _arrivals(top: float, rate: float, seed: int) -> Times:
    """Poisson arrivals whose rate stands, rises tenfold to `top` of `rate`, and stays there: of
    `DRAWS` paths the one whose waiting is the most usual, before a server of constant time."""
    chance = np.random.default_rng(seed)
    paths = [_path(top * rate, chance) for _ in range(DRAWS)]
    waits = np.array(
        [[_waited(path, 1 / rate, span) for span in PHASES.values()] for path in paths]
    )
    usual = np.median(waits, axis=0)
    return paths[int(np.argmin((np.abs(waits - usual) / usual).sum(axis=1)))]


def _path(highest: float, chance: np.random.Generator) -> Times:
    length = CALM_S + RAMP_S + HOLD_S
    drawn = np.sort(chance.uniform(0.0, length, round(highest * length)))
    factor = 1 + (FACTOR - 1) * np.clip((drawn - CALM_S) / RAMP_S, 0.0, 1.0)
    return np.asarray(drawn[chance.uniform(0.0, FACTOR, len(drawn)) < factor])


def _waited(path: Times, service_s: float, span: tuple[float, float]) -> float:
    during = (path >= span[0]) & (path < span[1])
    return float(np.percentile(waiting(path, service_s)[during], 95))


def simulated(found: dict[str, Any], row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The same arrivals before the rehearsal's replica; medians over draws of the service times."""
    before, after = row["saturated_per_s"]
    model = Model.of(service_of(found, (before + after) / 2))
    at_s = _arrivals(SPIKES[row["spike"]], before, found["seed"])
    plays = [_play(at_s, model, row["limit_ms"] / 1000, draw) for draw in range(1, DRAWN + 1)]
    return {
        phase: {
            key: round(median(_phase(play, span)[key] for play in plays), 4)
            for key in ("p95_ms", "shed")
        }
        for phase, span in PHASES.items()
    }


def _play(at_s: Times, model: Model, limit_s: float, draw: int) -> Played:
    environment = simpy.Environment()
    replica = Replica(environment, model, random.Random(draw), 0.0)
    reply, status = np.full(len(at_s), np.nan), np.full(len(at_s), 503)

    def answered(number: int, taken: float | None) -> None:
        if taken is not None:
            reply[number], status[number] = taken * 1000, 200

    def arrivals() -> Iterator[Any]:
        for number, at in enumerate(at_s.tolist()):
            yield environment.timeout(at - environment.now)
            replica.ask(limit_s, partial(answered, number))

    environment.process(arrivals())
    environment.run()
    return Played(at_s, reply, status)


if __name__ == "__main__":
    main()
