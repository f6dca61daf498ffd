"""Text generation beside what else there is on a CPU: `python -m benchmarks.generative.compare`.

The same FP32 weights and prompts in every engine; answers of equal length, greedy. Ours is asked
over HTTP as a client would, the others in their own process. Rounds of all engines take turns, and
every figure is the median of them; cells in which we lose are marked. What a user would install
stands beside it: bytes of the packages, compressed.

`--peers PYTHON` is an environment with onnxruntime-genai, llama-cpp-python, transformers, torch
(CPU) and gguf; what it lacks is told and left out.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.generative.model import BenchModel, bench_model
from benchmarks.generative.serving import memory, server

HERE = Path(__file__).parent / "peers"
STREAMS = (1, 4, 8)
TOKENS = 64
PEERS = {
    "onnxruntime-genai Generator": ("genai_serial.py", "onnxruntime_genai", "onnxruntime-genai"),
    "llama-cpp-python": ("llama_cpp_python.py", "llama_cpp", "llama-cpp-python"),
    "transformers generate": ("transformers_generate.py", "transformers", "transformers torch"),
}
OURS = {
    "packager, batching": {"speculation": {"kind": "off"}},
    "packager, look-up": {"speculation": {"kind": "lookup", "tokens": 3}},
}
SIZE_OF = """
import gzip, importlib.metadata as m, re, sys, zlib
def wanted(names):
    found = {}
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found: continue
        try: found[name] = m.distribution(name)
        except m.PackageNotFoundError: continue
        for need in found[name].requires or []:
            if "extra ==" not in need: names.append(re.split(r"[ ;<>=!~\\[(]", need)[0])
    return found
total = 0
for dist in wanted(sys.argv[1:]).values():
    for file in dist.files or []:
        path = dist.locate_file(file)
        if path.is_file() and not str(file).endswith(".pyc"):
            packer = zlib.compressobj(6)
            with open(path, "rb") as stream:
                while block := stream.read(1 << 20): total += len(packer.compress(block))
            total += len(packer.flush())
print(total)
"""


@dataclass
class Engine:
    name: str
    rows: dict[int, list[dict[str, float]]]
    memory: int = 0
    said: str | None = None
    size: int | None = None


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    model = bench_model()
    engines = [Engine(name, {}) for name in OURS]
    if options.peers:
        engines += _peers(options.peers, model, sizes=not options.no_sizes)
    for round_ in range(options.rounds):
        for engine in engines:
            print(f"round {round_ + 1}: {engine.name}", file=sys.stderr, flush=True)
            found = (
                _ours(engine, model) if engine.name in OURS else _peer(engine, model, options.peers)
            )
            if found is None:
                print(f"did not run: {engine.name}", file=sys.stderr)
                continue
            for row in found["rows"]:
                engine.rows.setdefault(row["streams"], []).append(row)
            engine.memory, engine.said = found["memory"], _text(found["said"])
    engines = [engine for engine in engines if engine.rows]
    _print(engines)
    if options.output:
        Path(options.output).write_text(
            json.dumps([_record(one) for one in engines], indent=1) + "\n"
        )
    return 0


def _options(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", help="the Python of the peers' environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output")
    parser.add_argument("--no-sizes", action="store_true", help="leave out what peers weigh")
    return parser.parse_args(arguments)


def _peers(python: str, model: BenchModel, *, sizes: bool) -> list[Engine]:
    if not (model.fp32 / "model.gguf").exists():
        subprocess.run([python, "-P", str(HERE / "convert.py"), str(model.fp32)], check=True)
    found = []
    for name, (_, module, packages) in PEERS.items():
        probe = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if probe.returncode:
            print(f"left out, not installed: {name}", file=sys.stderr)
            continue
        if not sizes:
            found.append(Engine(name, {}))
            continue
        size = subprocess.run(
            [python, "-c", SIZE_OF, *packages.split()], capture_output=True, text=True, check=True
        )
        found.append(Engine(name, {}, size=int(size.stdout)))
    return found


def _peer(engine: Engine, model: BenchModel, python: str) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as scratch:
        task, result = Path(scratch) / "task.json", Path(scratch) / "result.json"
        task.write_text(
            json.dumps(
                {"prompts": model.prompts[:24], "tokens": TOKENS, "streams": STREAMS, "rounds": 2}
            )
        )
        command = [
            python,
            str(HERE / PEERS[engine.name][0]),
            str(model.fp32),
            str(task),
            str(result),
        ]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if done.returncode:
            return None
        found: dict[str, Any] = json.loads(result.read_text())
    return found


def _ours(engine: Engine, model: BenchModel) -> dict[str, Any]:
    with server(model, **OURS[engine.name]) as process:
        said = _said(process.port, model.prompts[0])
        rows = []
        for streams in STREAMS:
            runs = [
                _run(
                    process.port, [model.prompts[(turn * streams + k) % 24] for k in range(streams)]
                )
                for turn in range(2)
            ]
            rows.append(
                {
                    "streams": streams,
                    "tokens_per_s": median(run["rate"] for run in runs),
                    "first_ms": median(run["first"] for run in runs) * 1e3,
                }
            )
        return {"rows": rows, "memory": memory(process), "said": said}


def _said(port: int, prompt: list[int]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = {"model": "chat", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
    connection.request("POST", "/v1/completions", json.dumps({**body, "ignore_eos": True}))
    text: str = json.loads(connection.getresponse().read())["choices"][0]["text"]
    connection.close()
    return text


def _text(said: list[int] | str) -> str:
    """What was said, as text; peers tell tokens."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(bench_model().fp32 / "tokenizer.json"))
    return said if isinstance(said, str) else str(tokenizer.decode(said))


def _run(port: int, prompts: list[list[int]]) -> dict[str, float]:
    firsts: list[float] = []
    began = time.perf_counter()

    def one(prompt: list[int]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        body = {"model": "chat", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
        asked = {**body, "stream": True, "ignore_eos": True}
        connection.request("POST", "/v1/completions", json.dumps(asked))
        answer = connection.getresponse()
        answer.readline()
        firsts.append(time.perf_counter() - began)
        answer.read()
        connection.close()

    threads = [threading.Thread(target=one, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "rate": len(prompts) * TOKENS / (time.perf_counter() - began),
        "first": median(firsts),
    }


def _cell(engine: Engine, streams: int, key: str) -> float:
    return median(row[key] for row in engine.rows[streams])


def _print(engines: list[Engine]) -> None:
    ours = [engine for engine in engines if engine.name in OURS]
    print(
        f"{'':32}"
        + "".join(f"{s} tokens/s (first ms)  " for s in STREAMS)
        + "memory MB  install MB"
    )
    for engine in engines:
        cells = []
        for streams in STREAMS:
            rate, first = (_cell(engine, streams, key) for key in ("tokens_per_s", "first_ms"))
            best = max(_cell(one, streams, "tokens_per_s") for one in ours)
            quickest = min(_cell(one, streams, "first_ms") for one in ours)
            lost = engine not in ours and (rate > best, first < quickest)
            marks = "".join("*" if one else " " for one in lost) if lost else "  "
            cells.append(f"{rate:>8.0f} ({first:>7.1f}){marks:4}")
        size = "" if engine.size is None else f"{engine.size / 1e6:.1f}"
        leaner = engine not in ours and engine.memory < min(one.memory for one in ours)
        told = f"{engine.memory / 1e6:>9.0f}{'*' if leaner else ' '}"
        print(f"{engine.name:32}{'  '.join(cells)} {told} {size:>9}")
    print("* a cell in which another engine does better than both of ours")
    # The last peer: the first one, GenAI's Generator, never says the end of a text when it is told
    # to go on, and what follows is then another text.
    reference = next((one.said for one in reversed(engines) if one not in ours and one.said), None)
    for engine in engines:
        if reference and engine.said:
            pairs = zip(engine.said, reference, strict=False)
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            print(f"{engine.name}: {same} of {len(reference)} characters as the last peer says")


def _record(engine: Engine) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "memory": engine.memory,
        "install_bytes": engine.size,
        "streams": {
            str(streams): {
                key: round(_cell(engine, streams, key), 1) for key in ("tokens_per_s", "first_ms")
            }
            for streams in STREAMS
        },
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
