"""What all peers share: the task, threads, figures. Needs nothing but Python."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

Say = Callable[[list[int], int], Iterator[int]]


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main(opened: Callable[[Path], Say], *, serial: bool = False) -> None:
    """Run every number of streams several times; `serial`: the engine takes one at a time, so that
    the others wait."""
    folder, task_file, result_file = map(Path, sys.argv[1:4])
    task: dict[str, Any] = json.loads(task_file.read_text())
    say = opened(folder)
    lock = threading.Lock()
    said = list(say(task["prompts"][0], task["tokens"]))
    rows = []
    for streams in task["streams"]:
        runs = []
        for round_ in range(task["rounds"]):
            prompts = [
                task["prompts"][(round_ * streams + k) % len(task["prompts"])]
                for k in range(streams)
            ]
            runs.append(_run(say, prompts, task["tokens"], lock if serial else None))
        rows.append(
            {
                "streams": streams,
                "tokens_per_s": median(run["rate"] for run in runs),
                "first_ms": median(run["first"] for run in runs) * 1e3,
            }
        )
    result_file.write_text(json.dumps({"rows": rows, "memory": memory(), "said": said}))


def _run(
    say: Say, prompts: list[list[int]], tokens: int, lock: threading.Lock | None
) -> dict[str, float]:
    firsts: list[float] = []
    counts: list[int] = []
    began = time.perf_counter()

    def one(prompt: list[int]) -> None:
        count = 0
        if lock:
            lock.acquire()
        try:
            for _ in say(prompt, tokens):
                if not count:
                    firsts.append(time.perf_counter() - began)
                count += 1
        finally:
            if lock:
                lock.release()
        counts.append(count)

    threads = [threading.Thread(target=one, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {"rate": sum(counts) / seconds, "first": median(firsts)}
