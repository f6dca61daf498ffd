"""The criteria of the whole server: a loop that stays free, slots that come back, silence."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.generative.model import BenchModel, shape_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from egress import attempts, finished, listened, strace
from runtime_process import RuntimeProcess
from tiny_decoder import TinyChat, decoder_entry

CONTEXT = 2048
Row = tuple[int, str, float, float, bool]


@contextmanager
def server(model: BenchModel, kind: str = "fp32", **changes: Any) -> Iterator[RuntimeProcess]:
    """The runtime on the benchmark's model, as the packager would set it up."""
    with tempfile.TemporaryDirectory() as scratch:
        chat = chat_folder(model, Path(scratch), kind, **changes)
        with RuntimeProcess(chat.folder / "server.json") as process:
            process.wait_ready()
            _as_urgent_as_this(process)
            yield process


def _as_urgent_as_this(process: RuntimeProcess) -> None:
    """The worker has a session of its own, and Linux shares the processor among sessions: whoever
    runs this with a higher share gives it to the server and its worker too."""
    own = Path("/proc/self/autogroup")
    nice = own.read_text().split()[-1] if own.exists() else "0"
    if nice != "0":
        for pid in _pids(process):
            Path(f"/proc/{pid}/autogroup").write_text(nice)


def _pids(process: RuntimeProcess) -> list[int]:
    """Server and worker."""
    pid = process.process.pid
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def chat_folder(model: BenchModel, folder: Path, kind: str = "fp32", **changes: Any) -> TinyChat:
    base = folder / "models/chat/1"
    base.mkdir(parents=True)
    source = getattr(model, kind)
    for name in ("model.onnx", "tokenizer.json", "chat_template.jinja"):
        shutil.copyfile(source / name, base / name)
    shape = shape_of(source, 2)
    sizes = {"kv_heads": shape.kv_heads, "head_size": shape.head_size, "intra_op_threads": 2}
    chat = TinyChat(folder)
    chat.entry = {
        "name": "chat",
        "version": "1",
        "decoder": decoder_entry("models/chat/1/model.onnx", shape.layers, **sizes),
        "execution_provider": "CPUExecutionProvider",
        "provider_options": {},
        "tokenizer": "models/chat/1/tokenizer.json",
        "chat_template": "models/chat/1/chat_template.jinja",
        "vocabulary": 1024,
        "end_tokens": [0],
        "begin_token": None,
        "slots": 8,
        "slot_tokens": CONTEXT,
        "prefill_chunk": 64,
        "speculation": {"kind": "off"},
        "golden": None,
        **changes,
    }
    chat.write()
    return chat


def over_http(model: BenchModel) -> Iterator[Row]:
    """Criteria 8, 9 and 10."""
    with server(model) as process:
        yield _free_loop(process)
        yield from _cancelled(process)
        yield _streamed(process)
    yield _silent(model)


def ask(port: int, body: dict[str, Any], path: str = "/v1/completions") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", path, json.dumps({"model": "chat", **body}))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def metric(port: int, name: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def memory(process: RuntimeProcess) -> int:
    """Resident bytes of server and worker."""
    pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in _pids(process))
    return sum(map(int, pages)) * 4096


def _free_loop(process: RuntimeProcess) -> Row:
    """Health checks while a prompt of 1500 tokens is read."""
    shares = []
    for round_ in range(3):
        prompt = [(7 * step + round_) % 1000 + 5 for step in range(1500)]
        done = threading.Event()
        took: list[float] = []

        def read(prompt: list[int] = prompt, done: threading.Event = done) -> None:
            ask(process.port, {"prompt": prompt, "max_tokens": 1})
            done.set()

        began = time.perf_counter()
        thread = threading.Thread(target=read)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
        while not done.is_set():
            at = time.perf_counter()
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
            took.append(time.perf_counter() - at)
            time.sleep(0.002)
        thread.join()
        connection.close()
        took.sort()
        shares.append(took[int(len(took) * 0.99)] / (time.perf_counter() - began))
    told = "99th percentile of health checks / time to read a prompt of 1500 tokens"
    return 8, told, sorted(shares)[1], 0.05, True


def _cancelled(process: RuntimeProcess) -> Iterator[Row]:
    """Clients that leave in the middle of their stream."""
    late = []
    for number in range(200):
        if number == 20:
            before = memory(process)
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
        body = {"model": "chat", "prompt": f"Return {number}", "max_tokens": 1500, "stream": True}
        connection.request("POST", "/v1/completions", json.dumps({**body, "ignore_eos": True}))
        answer = connection.getresponse()
        answer.readline()
        answer.close()
        connection.close()
        if number % 20 == 0:
            time.sleep(1.2)  # the worker tells its figures once a second
            said = metric(process.port, "packager_generated_tokens_total")
            time.sleep(0.3)
            late.append(metric(process.port, "packager_generated_tokens_total") - said)
    _idle(process)
    yield 9, "tokens said later than a second after the client left", max(late), 0, True
    active = metric(process.port, "packager_generations_active")
    yield 9, "slots in use after 200 requests that were left", active, 0, True
    yield 9, "memory after 200 such requests / after 20", memory(process) / before, 1.05, True


def _idle(process: RuntimeProcess) -> None:
    deadline = time.monotonic() + 30
    while metric(process.port, "packager_generations_active"):
        assert time.monotonic() < deadline, "a slot stays in use"
        time.sleep(0.02)


def _streamed(process: RuntimeProcess) -> Row:
    equal = []
    for seed in range(30):
        body = {"prompt": f"Return the {seed}", "max_tokens": 60, "temperature": 1, "seed": seed}
        whole = json.loads(ask(process.port, body)[1])["choices"][0]["text"]
        stop = [whole[8:12]] if seed % 2 and len(whole) > 12 else []
        plain = json.loads(ask(process.port, {**body, "stop": stop})[1])["choices"][0]["text"]
        data = ask(process.port, {**body, "stop": stop, "stream": True})[1].decode()
        events = [line[6:] for line in data.split("\n\n") if line.startswith("data: {")]
        equal.append("".join(json.loads(one)["choices"][0]["text"] for one in events) == plain)
    return (
        10,
        "share of 30 streams equal to the whole answer, stops included",
        sum(equal) / 30,
        1,
        False,
    )


def _silent(model: BenchModel) -> Row:
    """What server and worker try to reach, seen by strace; without it this cannot be told."""
    told = "attempts of server and worker to reach anybody while 20 answers are given"
    if not shutil.which("strace"):
        return 10, f"{told} (no strace here)", float("nan"), 0, True
    with tempfile.TemporaryDirectory() as scratch:
        trace = Path(scratch) / "trace"
        chat = chat_folder(model, Path(scratch) / "image")
        with RuntimeProcess(chat.folder / "server.json", wrapper=strace(trace)) as process:
            process.wait_ready()
            for number in range(20):
                ask(process.port, {"prompt": f"Return {number}", "max_tokens": 8})
            pid = process.process.pid
            process.stop()
        text = finished(trace, pid)
    assert listened(text)
    return 10, told, float(len(attempts(text))), 0, True
