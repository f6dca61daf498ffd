"""How fast text models are in the engine that serves them: `python -m … .measuring TASK RESULT`.

For the packager, which bakes the best settings into server.json, and for whoever wants to know it
on a machine of their own. Two models are timed in turns in one process, because a machine that is
shared drifts. TASK and RESULT are JSON files.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .decoder import SlotDecoder
from .drafting import Drafter, ModelDrafter, PromptLookup
from .engine import Engine, Limits
from .jobs import Job
from .settings import Decoder

_NGRAM = 3
_MOST_ROUNDS = 60
_ALWAYS = 1 << 20  # no prompt is this long: it is read in one chunk


def main(task_file: Path, result_file: Path) -> int:
    """Do the task, write the result; what fails is a result with a reason."""
    task = json.loads(task_file.read_text())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(int(task["seconds"]) + 5)
    try:
        result = {"ok": True, **_TASKS[task["task"]](task)}
    except Exception as error:  # whatever it is, the packager tells it as the reason
        told = " ".join(str(error).split())[:240]
        result = {"ok": False, "reason": f"{type(error).__name__}: {told}"}
    result_file.write_text(json.dumps(result))
    return 0


def paces(task: dict[str, Any]) -> dict[str, Any]:
    """`candidate` beside `source` for each number of threads and of answers at a time.

    `tokens_per_s` counts all answers of a run, their prompts' reading included; `step_ms` are the
    times between two tokens of one answer, `first_ms` from asking to the first token.
    """
    prompts = task["prompts"]
    figures, before = [], _resident()
    loaded: dict[str, Any] = {}
    for threads in task["threads"]:
        began = time.perf_counter()
        own = _engine(task, task["candidate"], threads)
        if not loaded:
            seconds = time.perf_counter() - began
            _run(own(1), prompts[:1], 2)
            loaded = {
                "load_ms": round(seconds * 1e3, 1),
                "resident_bytes": max(0, _resident() - before),
            }
        base = _engine(task, task["source"], threads)
        for streams in task["streams"]:
            asked = [prompts[number % len(prompts)] for number in range(streams)]
            runs = _in_turns([base(streams), own(streams)], asked, task)
            figures.append({"threads": threads, "streams": streams, **_figures(runs)})
    return {"figures": figures, **loaded}


def tuning(task: dict[str, Any]) -> dict[str, Any]:
    """For one model: tokens a second of reading a prompt in chunks of several sizes, and what
    guessing gains a lone answer by each kind, number of tokens and threads of the draft."""
    decoder, prompts = task["candidate"], task["prompts"]
    threads, tokens = task["threads"][0], task["tokens"]
    slots = _decoder(task, decoder, threads, 1)
    long = _long(prompts, task["slot_tokens"] - 2)
    chunks = [
        [chunk, round(len(long) / median(_reading(slots, long, chunk) for _ in range(3)), 1)]
        for chunk in task["chunks"]
        if chunk <= len(long)
    ]
    guesses = []
    for kind, guessed, draft_threads in task["guesses"]:
        # A drafter of its own for each: what the one before learnt must not help the next.
        drafter: Drafter = PromptLookup(_NGRAM)
        if kind == "draft":
            drafter = ModelDrafter(_decoder(task, task["draft"], draft_threads, 1))
        plain = Engine(slots, (), Limits(_ALWAYS))
        fast = Engine(slots, (), Limits(_ALWAYS, guessed, 1), drafter)
        ratios = []
        for prompt in prompts[: task["rounds"]]:
            slow = _run(plain, [prompt], tokens)
            quick = _run(fast, [prompt], tokens)
            ratios.append(slow["seconds"] / quick["seconds"])
        drafted = fast.controller.drafted
        guesses.append(
            {
                "kind": kind,
                "tokens": guessed,
                "threads": draft_threads,
                "gain": round(median(ratios), 2),
                "accepted": round(fast.controller.accepted / drafted, 3) if drafted else 0.0,
            }
        )
    return {"chunks": chunks, "guesses": guesses}


_TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"paces": paces, "tuning": tuning}


def _decoder(task: dict[str, Any], entry: dict[str, Any], threads: int, slots: int) -> SlotDecoder:
    path = Path(entry["path"])
    sizes = (entry["layers"], entry["kv_heads"], entry["head_size"])
    settings = Decoder(path.name, *sizes, threads)
    return SlotDecoder(path.parent, settings, slots, task["slot_tokens"])


def _engine(task: dict[str, Any], entry: dict[str, Any], threads: int) -> Callable[[int], Engine]:
    """Engines of one model with so many slots; the session is opened once."""
    decoder = _decoder(task, entry, threads, max(task["streams"]))
    chunk = task["chunk"]

    def made(_streams: int) -> Engine:
        decoder.lengths = [0] * decoder.slots
        return Engine(decoder, (), Limits(prefill_chunk=chunk))

    return made


def _in_turns(
    engines: Sequence[Engine], prompts: Sequence[Sequence[int]], task: dict[str, Any]
) -> list[list[dict[str, Any]]]:
    for engine in engines:
        _run(engine, prompts, 2)
    found = []
    began = time.monotonic()
    for turn in range(_MOST_ROUNDS):
        if turn >= task["rounds"] and time.monotonic() - began > task["patience"]:
            break
        order = list(range(len(engines)))[:: -1 if turn % 2 else 1]
        done = {number: _run(engines[number], prompts, task["tokens"]) for number in order}
        found.append([done[number] for number in sorted(done)])
    return found


def _run(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> dict[str, Any]:
    """Answer all prompts at once. Each has a tenant of its own, so that nothing is read before."""
    waits: list[float] = []
    last: dict[int, float] = {}
    first: dict[int, float] = {}
    began = time.perf_counter()
    for number, prompt in enumerate(prompts):
        tenant = f"{began}-{number}"
        engine.submit(Job(number, tuple(prompt), tokens, tenant=tenant, ignore_end=True))
    said = 0
    while engine.busy:
        events = engine.step()
        now = time.perf_counter()
        for event in events:
            said += len(event.chosen)
            if event.job in last:
                waits.append(now - last[event.job])
            else:
                first[event.job] = now - began
            last[event.job] = now
    return {
        "seconds": time.perf_counter() - began,
        "said": said,
        "waits": waits,
        "first": median(first.values()),
    }


def _figures(runs: list[list[dict[str, Any]]]) -> dict[str, Any]:
    own = [pair[1] for pair in runs]
    waits = sorted(wait for one in own for wait in one["waits"])
    return {
        "rounds": len(runs),
        "step_p50_ms": round(median(waits) * 1e3, 3),
        "step_p99_ms": round(waits[min(len(waits) - 1, int(len(waits) * 0.99))] * 1e3, 3),
        "first_ms": round(median(one["first"] for one in own) * 1e3, 3),
        "tokens_per_s": round(median(one["said"] / one["seconds"] for one in own), 1),
        "speedup": round(median(base["seconds"] / one["seconds"] for base, one in runs), 2),
        "step_speedup": round(
            median(median(base["waits"]) / median(one["waits"]) for base, one in runs), 2
        ),
    }


def _reading(decoder: SlotDecoder, tokens: Sequence[int], chunk: int) -> float:
    decoder.lengths[0] = 0
    began = time.perf_counter()
    for at in range(0, len(tokens), chunk):
        decoder.read(0, tokens[at : at + chunk])
    return time.perf_counter() - began


def _long(prompts: Sequence[Sequence[int]], most: int) -> list[int]:
    """The prompts one behind the other, again and again, as one long one."""
    joined = [token for prompt in prompts for token in prompt]
    wanted = min(most, 512)
    return (joined * (wanted // len(joined) + 1))[:wanted]


def _resident() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
