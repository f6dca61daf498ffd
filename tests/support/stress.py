"""What a server has to stand, as functions that return figures: small in tests, large in
`benchmarks/runtime/stress.py`. Each starts a runtime of its own, as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from grpc_callers import RESET, UNTOUCHED, GrpcServer
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, classifier, classifier_answer, spinner, tensor

from packager.bench.connection import LOST, Connection
from packager.bench.figures import percentile
from packager.bench.server import Identity, Server
from packager.runtime.grpc_service.messages import message

X, Y = [tensor("x", "FP32", [-1, 4])], [tensor("y", "FP32", [-1, 4])]
Over = Literal["REST", "gRPC"]
BROKEN = """
import sys, time
from packager.runtime import session
from packager.runtime.errors import RequestError
run, calls, broke = session.Session.run, 0, 0.0
def broken(self, inputs, outputs):
    global calls, broke
    calls += 1
    if calls == 10:
        broke = time.monotonic()
    if broke and time.monotonic() < broke + 2.5:
        raise RequestError(500, "inference failed: planted")
    return run(self, inputs, outputs)
session.Session.run = broken
from packager.runtime.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def body(x: np.ndarray[Any, Any], *, binary: bool, outputs: tuple[str, ...] = ()) -> bytes:
    """A whole request for the classifier without its first line and host."""
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    document: dict[str, Any] = {"inputs": [entry]}
    if outputs:
        document["outputs"] = [{"name": name} for name in outputs]
    raw = b""
    if binary:
        raw = x.tobytes()
        entry["parameters"] = {"binary_data_size": len(raw)}
    else:
        entry["data"] = x.ravel().tolist()
    head = json.dumps(document).encode()
    fields = f"Inference-Header-Content-Length: {len(head)}\r\n" if binary else ""
    return f"{fields}Content-Length: {len(head) + len(raw)}\r\n\r\n".encode() + head + raw


def request(server: Server, model: str, rest: bytes) -> bytes:
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\n{server.fields}".encode() + rest


def at(process: RuntimeProcess) -> Server:
    return Server.at(f"http://127.0.0.1:{process.port}", Identity())


def message_of(
    model: str, x: np.ndarray[Any, Any], outputs: tuple[str, ...] = (), call_id: str = ""
) -> bytes:
    """The same as a message of gRPC."""
    asked = message("inference.ModelInferRequest")(model_name=model, id=call_id)
    asked.inputs.add(name="x", datatype="FP32", shape=x.shape)
    for name in outputs:
        asked.outputs.add(name=name)
    asked.raw_input_contents.append(x.tobytes())
    return bytes(asked.SerializeToString())


def door(process: RuntimeProcess, model: str, over: Over) -> tuple[Server | GrpcServer, bytes]:
    """Where a row is sent to, and the bytes that ask for it."""
    row = np.ones((1, 4), np.float32)
    if over == "gRPC":
        return over_grpc(process), message_of(model, row)
    server = at(process)
    return server, request(server, model, body(row, binary=True))


def over_grpc(process: RuntimeProcess) -> GrpcServer:
    return GrpcServer(next(line["grpc_port"] for line in process.log if "grpc_port" in line))


def resident_mib(pid: int) -> float:
    """Cheap to ask: the kernel has counted already."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / (1 << 20)


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# Exactness


def exactness(folder: Path, count: int, seed: int = 7) -> dict[str, Any]:
    """`count` connections ask at the same time, 1 to 5 rows in every form; one in ten leaves."""
    with RuntimeProcess(crowd_image(folder, count).write()) as process:
        process.wait_ready()
        found = asyncio.run(_exactness(at(process), count, seed))
        found |= counted(process)
        found["exit"] = process.stop()
    return found


def crowd_image(folder: Path, count: int) -> RuntimeFolder:
    """The classifier in batches, with room for `count` requests at once."""
    image = RuntimeFolder(folder)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores, label = classifier_answer(x)
    golden = {"input.x": x, "output.scores": scores, "output.label": label}
    model = image.add_classifier(golden=golden)
    model["batching"] = {
        "max_batch_size": 32,
        "default_queue_policy": {"max_queue_size": 2 * count},
    }
    image.document["http"] |= {"max_concurrency": 2 * count, "max_connections": 2 * count}
    image.document["grpc"] = {"port": 0}
    return image


def counted(process: RuntimeProcess) -> dict[str, int]:
    """Runs of the session, and rows in them."""
    client = process.client()
    page = client.request("GET", "/metrics")[2].decode()
    client.close()
    names = {"runs": "nv_inference_exec_count", "rows": "nv_inference_count"}
    return {key: _metric(page, name) for key, name in names.items()}


async def _exactness(server: Server, count: int, seed: int) -> dict[str, Any]:
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(classifier(), providers=["CPUExecutionProvider"])
    found: Counter[str] = Counter()

    async def one() -> None:
        x = numbers.standard_normal((rng.randint(1, 5), 4)).astype(np.float32)
        outputs = rng.choice([(), ("scores",), ("label",), ("label", "scores")])
        binary = rng.random() < 0.5
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answered(_: Connection, status: int, __: float) -> None:
            if not done.done():
                done.set_result(status)

        connection = await server.connect(answered, keep_body=True)
        leaves = rng.random() < 0.1
        await ready.wait()
        rest = body(x, binary=binary, outputs=outputs)
        connection.ask(request(server, "classifier", rest), time.perf_counter())
        if leaves:
            await asyncio.sleep(rng.random() * 0.5)
            found["left after the answer" if done.done() else "left before the answer"] += 1
            connection.close()
            return
        status = await done
        connection.close()
        if status != 200:
            found[f"status {status}"] += 1
            return
        expected = dict(zip(("scores", "label"), session.run(None, {"x": x}), strict=True))
        answer = json.loads(connection.body)
        names = [output["name"] for output in answer["outputs"]]
        right = names == list(outputs or ("scores", "label"))
        for output in answer["outputs"]:
            got = np.array(output["data"]).reshape(output["shape"])
            want = expected[output["name"]]
            right = right and got.shape == want.shape and np.allclose(got, want, atol=1e-5)
        found["right" if right else "wrong"] += 1

    ready = asyncio.Event()
    tasks = [asyncio.create_task(one()) for _ in range(count)]
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    ready.set()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0.05)  # for the connections to be gone
    return dict(found) | {"asked": count, "seconds": round(time.perf_counter() - began, 2)}


def _metric(page: str, name: str) -> int:
    (value,) = [line.split()[-1] for line in page.splitlines() if line.startswith(name + "{")]
    return int(float(value))


# Overload


def overload(
    folder: Path, seconds: float, times: float = 10, calm: float = 5, *, over: Over = "REST"
) -> dict[str, Any]:
    """`times` what the server can do, at random, for `seconds`; then what one client sees. Capacity
    is measured for `calm` seconds before and after, since a shared machine wanders."""
    image = RuntimeFolder(folder)
    slow = image.add("slow", spinner(20_000), X, Y)
    slow["batching"] = {"default_queue_policy": {"max_queue_size": 16}, "instances": 1}
    image.document["http"] |= {"max_concurrency": 32}
    image.document["grpc"] = {"port": 0}
    with RuntimeProcess(image.write()) as process:
        process.wait_ready()
        load = _Load(*door(process, "slow", over))
        found = asyncio.run(_overload(load, process.process.pid, seconds, times, calm))
        found["exit"] = process.stop()
    return found


async def _overload(
    load: _Load, pid: int, seconds: float, times: float, calm: float
) -> dict[str, Any]:
    alone = await load.closed(1, calm / 2)
    full = await load.closed(8, calm)
    before = len(full.good) / full.seconds
    memory: list[float] = []
    sampling = asyncio.create_task(_sample(memory, pid))
    heavy = await load.opened(times * before, seconds)
    sampling.cancel()
    await asyncio.sleep(1)
    after = await load.closed(1, calm / 2)
    full = await load.closed(8, calm)
    capacity = max(before, len(full.good) / full.seconds)
    third = max(1, len(memory) // 3)
    return {
        "capacity_per_s": round(capacity, 1),
        "capacity_before_per_s": round(before, 1),
        "asked_per_s": round(heavy.asked / heavy.seconds, 1),
        "goodput_share": round(len(heavy.good) / heavy.seconds / capacity, 3),
        "refused": len(heavy.refused),
        "refused_p50_ms": milliseconds(heavy.refused, 50),
        "refused_p99_ms": milliseconds(heavy.refused, 99),
        "statuses": {str(status): n for status, n in sorted(heavy.statuses.items())},
        "memory_growth": round(max(memory[third:]) / max(memory[:third]), 3),
        "alone_p50_ms": milliseconds(alone.good, 50),
        "a_second_after_p50_ms": milliseconds(after.good, 50),
    }


_NOT_CONNECTED = -1


class _Outcome:
    def __init__(self) -> None:
        self.good: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.asked = 0
        self.seconds = 0.0


class _Load:
    """`server` is one of REST or of gRPC, `asking` what it is sent. Times count from when a request
    was sent: the generator's own delays are not the server's."""

    def __init__(self, server: Server | GrpcServer, asking: bytes) -> None:
        self._server = server
        self._asking = asking

    async def closed(self, clients: int, seconds: float) -> _Outcome:
        outcome, began = _Outcome(), time.perf_counter()

        async def client() -> None:
            done: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
            try:
                connection = await self._server.connect(lambda _, s, t: done.put_nowait((s, t)))
            except TimeoutError:  # on a machine that does not let either of us run
                outcome.statuses[_NOT_CONNECTED] += 1
                return
            while time.perf_counter() - began < seconds:
                connection.ask(self._asking, time.perf_counter())
                self._note(outcome, *await done.get())
            connection.close()

        await asyncio.gather(*(client() for _ in range(clients)))
        outcome.seconds = time.perf_counter() - began
        return outcome

    async def opened(self, rate: float, seconds: float) -> _Outcome:
        outcome, rng = _Outcome(), random.Random(7)
        free: list[Connection] = []
        busy = 0

        def answered(connection: Connection, status: int, _: float) -> None:
            nonlocal busy
            busy -= 1
            self._note(outcome, status, time.perf_counter() - connection.asked)
            if connection.open:
                free.append(connection)

        began = due = time.perf_counter()
        while time.perf_counter() - began < seconds:
            while due <= time.perf_counter():
                connection = free.pop() if free else await self._server.connect(answered)
                busy += 1
                outcome.asked += 1
                connection.ask(self._asking, 0.0)
                due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        outcome.seconds = time.perf_counter() - began
        while busy:
            await asyncio.sleep(0.05)
        for connection in free:
            connection.close()
        return outcome

    @staticmethod
    def _note(outcome: _Outcome, status: int, seconds: float) -> None:
        outcome.statuses[status] += 1
        if status == 200:
            outcome.good.append(seconds)
        elif status in (429, 503):
            outcome.refused.append(seconds)


async def _sample(into: list[float], pid: int) -> None:
    while True:
        into.append(resident_mib(pid))
        await asyncio.sleep(0.5)


def milliseconds(values: list[float], percent: float) -> float | None:
    return round(percentile(sorted(values), percent) * 1e3, 2) if values else None


# Hostile peers


def hostile(folder: Path, idle: int, others: int, seconds: float) -> dict[str, Any]:
    """`idle` connections that say nothing; `others` each of slow senders, huge heads and
    half-closed sockets; meanwhile readiness and inference are asked on and on."""
    image = RuntimeFolder(folder)
    image.add_classifier()
    image.document["http"] |= {"header_seconds": 2.0, "body_seconds": 2.0}
    image.document["http"]["max_connections"] = max(64, idle + 4 * others + 64)
    with RuntimeProcess(image.write()) as process:
        process.wait_ready()
        before = resident_mib(process.process.pid)
        found = asyncio.run(_hostile(process, idle, others, seconds))
        found["mib_for_all"] = round(resident_mib(process.process.pid) - before, 1)
        found["exit"] = process.stop()
    return found


async def _hostile(
    process: RuntimeProcess, idle: int, others: int, seconds: float
) -> dict[str, Any]:
    server, address = at(process), ("127.0.0.1", process.port)
    found: Counter[str] = Counter()
    held: list[socket.socket] = []

    async def dial() -> socket.socket:
        loop, peer = asyncio.get_running_loop(), socket.socket()
        peer.setblocking(False)
        await loop.sock_connect(peer, address)
        held.append(peer)
        return peer

    async def send(peer: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(peer, data)

    async def slow(head: bytes) -> None:
        peer = await dial()
        await send(peer, head)
        while not stopped.is_set():
            await send(peer, b"x")
            await asyncio.sleep(0.5)

    async def huge() -> None:
        peer = await dial()
        await send(peer, b"GET / HTTP/1.1\r\nX-Long: " + b"a" * (1 << 20))
        with contextlib.suppress(OSError):
            answer = await asyncio.get_running_loop().sock_recv(peer, 1024)
            found["huge heads told 431"] += b" 431 " in answer

    async def half() -> None:
        peer = await dial()
        await send(peer, b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)

    stopped = asyncio.Event()
    for _ in range(idle):
        await dial()
    found["idle"] = idle
    tasks = [asyncio.create_task(slow(b"GET / HTTP/1.1\r\nX-Slow: ")) for _ in range(others)]
    form = b"POST /v2/models/classifier/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"
    tasks += [asyncio.create_task(slow(form)) for _ in range(others)]
    tasks += [asyncio.create_task(huge()) for _ in range(others)]
    tasks += [asyncio.create_task(half()) for _ in range(others)]
    ready = server.request("GET", "/v2/health/ready")
    rest = body(np.ones((1, 4), np.float32), binary=False)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for asked, name in ((ready, "ready"), (request(server, "classifier", rest), "inferred")):
            began = time.perf_counter()
            status, _ = await server.ask(asked)
            taken.append(time.perf_counter() - began)
            found[name if status == 200 else f"{name} {status}"] += 1
        await asyncio.sleep(0.02)
    stopped.set()
    await asyncio.gather(*tasks)
    for peer in held:
        peer.close()
    return dict(found) | {
        "asked_p99_ms": milliseconds(taken, 99),
        "asked_max_ms": milliseconds(taken, 100),
    }


# A session that fails


def recovery(folder: Path, seconds: float = 30, *, over: Over = "REST") -> dict[str, Any]:
    """The session fails for 2.5 seconds: out of rotation, then back, within `seconds`."""
    image = RuntimeFolder(folder)
    image.add_classifier()
    image.document["grpc"] = {"port": 0}
    config = image.write()
    command = [sys.executable, "-c", BROKEN, "--config", str(config), "--host", "127.0.0.1"]
    with RuntimeProcess(config, command=[*command, "--port", "0"]) as process:
        process.wait_ready()
        found = asyncio.run(_recovery(at(process), door(process, "classifier", over), seconds))
        found["exit"] = process.stop()
        events = Counter(line["event"] for line in process.log)
        found["revived"] = events["session_revived"]
    return found


async def _recovery(
    server: Server, asked: tuple[Server | GrpcServer, bytes], seconds: float
) -> dict[str, Any]:
    found: Counter[str] = Counter()
    end = time.perf_counter() + seconds
    slowest = 0.0
    while time.perf_counter() < end:
        began = time.perf_counter()
        status, _ = await asked[0].ask(asked[1])
        slowest = max(slowest, time.perf_counter() - began)
        found[f"inference {status}"] += 1
        status, _ = await server.ask(server.request("GET", "/v2/health/ready"))
        found[f"ready {status}"] += 1
        if status == 200 and found["ready 503"] and found["inference 500"]:
            break
        await asyncio.sleep(0.02)
    return dict(found) | {"slowest_ms": round(slowest * 1e3, 1), "last_ready": status}


# Leaving under load

_ENDS = {LOST: "lost", RESET: "reset", UNTOUCHED: "crossed"}


def leaving(folder: Path, times: int, clients: int = 32, *, over: Over = "REST") -> dict[str, Any]:
    """SIGTERM under load, `times` times: what was accepted is answered, and the process ends. Over
    gRPC a call may cross the server's GOAWAY, which says that it was never looked at."""
    total: Counter[str] = Counter()
    slowest = 0.0
    for turn in range(times):
        image = RuntimeFolder(folder / str(turn))
        image.path.mkdir(parents=True)
        image.add("short", spinner(5_000), X, Y)
        image.document["grpc"] = {"port": 0}
        with RuntimeProcess(image.write()) as process:
            process.wait_ready()
            found, seconds = asyncio.run(_leaving(process, door(process, "short", over), clients))
            code = process.wait()
        total.update(found)
        total[f"exit {code}"] += 1
        slowest = max(slowest, seconds)
    return dict(total) | {"times": times, "slowest_stop_s": round(slowest, 2)}


async def _leaving(
    process: RuntimeProcess, asked: tuple[Server | GrpcServer, bytes], clients: int
) -> tuple[Counter[str], float]:
    server, asking = asked
    found: Counter[str] = Counter()

    async def client() -> None:
        done: asyncio.Queue[int] = asyncio.Queue()
        connection = await server.connect(lambda _, status, __: done.put_nowait(status))
        while connection.open:
            connection.ask(asking, time.perf_counter())
            status = await done.get()
            found[_ENDS.get(status, f"status {status}")] += 1

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    await asyncio.sleep(1)
    process.signal(signal.SIGTERM)
    began = time.perf_counter()
    await asyncio.gather(*tasks)
    while process.process.poll() is None:
        await asyncio.sleep(0.02)
    return found, time.perf_counter() - began


# A long time


def soak(folder: Path, seconds: float, clients: int = 32, every: float = 5) -> dict[str, Any]:
    """Full load for `seconds`, half of the clients over gRPC: memory and open files in the first
    and the last quarter."""
    image = RuntimeFolder(folder)
    image.add_classifier()["batching"] = {"max_batch_size": 32}
    image.document["grpc"] = {"port": 0}
    image.document["http"] |= {"max_concurrency": 256}
    with RuntimeProcess(image.write()) as process:
        process.wait_ready()
        # The journal of hours would fill this process's own memory.
        process._lines.maxsize = 0
        found = asyncio.run(_soak(process, seconds, clients, every))
        found["exit"] = process.stop()
    return found


async def _soak(
    process: RuntimeProcess, seconds: float, clients: int, every: float
) -> dict[str, Any]:
    pid, samples = process.process.pid, []
    kinds: tuple[Over, ...] = ("REST", "gRPC")
    loads = {over: _Load(*door(process, "classifier", over)) for over in kinds}

    async def sample() -> None:
        while True:
            await asyncio.sleep(every)
            samples.append((resident_mib(pid), open_files(pid)))
            while not process._lines.empty():
                process._lines.get_nowait()

    statuses: Counter[str] = Counter()
    sampling = asyncio.create_task(sample())
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        turn = min(60, max(1, end - time.perf_counter()))
        outcomes = await asyncio.gather(
            *(load.closed(clients // len(loads), turn) for load in loads.values())
        )
        for name, outcome in zip(loads, outcomes, strict=True):
            statuses.update({f"{name} {status}": n for status, n in outcome.statuses.items()})
    sampling.cancel()
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    return {
        "seconds": seconds,
        "requests": dict(sorted(statuses.items())),
        "mib_first_quarter": round(max(mib for mib, _ in first), 1),
        "mib_last_quarter": round(max(mib for mib, _ in last), 1),
        "files_first_quarter": max(files for _, files in first),
        "files_last_quarter": max(files for _, files in last),
    }
