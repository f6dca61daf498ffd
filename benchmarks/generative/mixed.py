"""A thousand mixed requests: `python -m benchmarks.generative.mixed [COUNT]`.

A hundred seeds, stop strings across the borders of tokens, prompts of several scripts, greedy and
drawn, some left in the middle. Every answer is asked whole and as a stream, in the company of
others, and both must say the same; afterwards no slot is in use, and memory is where it was.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.generative.model import bench_model
from benchmarks.generative.serving import ask, memory, metric, server

TEXTS = ("Return the number", "東京の天気は", "Über naïve Füße", "🙂 emoji", "файл не найден", "a")
AT_ONCE = 12


def body_of(number: int) -> dict[str, Any]:
    """A request, always the same one for a number."""
    chance = random.Random(number)
    body: dict[str, Any] = {
        "model": "chat",
        "prompt": f"{chance.choice(TEXTS)} {number % 40}",
        "max_tokens": chance.choice((1, 5, 20, 60)),
        "seed": number % 100,
        "temperature": chance.choice((0, 0.7, 1.0, 1.5)),
    }
    if chance.random() < 0.3:
        body["top_p"] = 0.9
    if chance.random() < 0.2:
        body["n"] = 2
    return body


def streamed(port: int, body: dict[str, Any]) -> list[str]:
    status, data = ask(port, {**body, "stream": True})
    assert status == 200, data[:300]
    texts = [""] * body.get("n", 1)
    for line in data.decode().split("\n\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                texts[choice["index"]] += choice["text"]
    return texts


def whole(port: int, body: dict[str, Any]) -> list[str]:
    status, data = ask(port, body)
    assert status == 200, data[:300]
    return [choice["text"] for choice in json.loads(data)["choices"]]


def left(port: int, body: dict[str, Any]) -> None:
    """Ask for a stream and go away after its first event."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    more = {**body, "stream": True, "max_tokens": 200, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(more))
    answer = connection.getresponse()
    answer.readline()
    answer.close()
    connection.close()


def one(port: int, number: int) -> str:
    """`left`, `same`, `stopped`, or what went wrong."""
    body, chance = body_of(number), random.Random(-number)
    if chance.random() < 0.2:
        left(port, body)
        return "left"
    first = whole(port, body)
    kind = "same"
    if chance.random() < 0.4 and len(first[0]) > 8:
        at = chance.randrange(1, len(first[0]) - 4)
        stop = first[0][at : at + chance.randrange(2, 5)]
        body["stop"] = [stop]
        first = [text.partition(stop)[0] for text in first]
        kind = "stopped"
        if whole(port, body) != first:
            return f"{number}: stopped elsewhere"
    return kind if streamed(port, body) == first else f"{number}: the stream says something else"


def run(port: int, count: int) -> dict[str, int]:
    """What came of so many requests, `AT_ONCE` at a time."""
    found: dict[str, int] = {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(lambda number: one(port, number), range(count)):
            found[outcome] = found.get(outcome, 0) + 1
    deadline = time.monotonic() + 30
    while metric(port, "packager_generations_active") and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def main(arguments: Sequence[str]) -> int:
    count = int(arguments[0]) if arguments else 1000
    with server(bench_model(), speculation={"kind": "lookup", "tokens": 3}) as process:
        run(process.port, min(100, count))
        before = memory(process)
        found = run(process.port, count)
        active = metric(process.port, "packager_generations_active")
        waiting = metric(process.port, "nv_inference_pending_request_count")
        grown = memory(process) / before
    wrong = {key: number for key, number in found.items() if key not in ("left", "same", "stopped")}
    print(f"{count} requests: {found}")
    print(f"slots in use {active:.0f}, waiting {waiting:.0f}, memory {grown:.3f} of before")
    return 1 if wrong or active or waiting or grown > 1.05 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
