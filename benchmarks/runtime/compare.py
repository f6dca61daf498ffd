"""Our server beside a bare session and other servers, one after the other, each run beside its own
bare measurement: `python -m benchmarks.runtime.compare [--seconds 2] [--model wide] [--peer NAME]`.

Figures are ratios of runs that lie next to each other, because the machine's speed wanders: the
bare session's rates are the means of one measurement before a server's load and one after it. Rows
in which we lose are printed like all others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.runtime.load import Load, closed_loop, closed_loop_grpc
from benchmarks.runtime.models import MODELS, BenchModel
from benchmarks.runtime.peers import PEERS, Peer
from tests.support.tiny_models import RuntimeFolder

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "compare.json"
CLIENTS = (1, 32)
BATCHES = (1, 8, 16, 32)


@dataclass(frozen=True)
class Bare:
    """The session alone."""

    start: float
    rss: float
    rates: dict[str, float]

    @property
    def best(self) -> float:
        return max(self.rates.values())


@dataclass(frozen=True)
class Row:
    """One server on one model."""

    server: str
    start: float
    rss: float
    loads: dict[int, Load]
    bare: Bare


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no peer outlives a cut run
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model or MODELS:
            model = MODELS[name]()
            graph = Path(folder, f"{name}.onnx")
            graph.write_bytes(model.graph)
            rows = []
            for peer in [OURS, OURS_GRPC, *PEERS.values()]:
                if options.peer and peer.name not in options.peer:
                    continue
                if not peer.available():
                    print(f"{peer.name}: not installed ({peer.how})")
                    continue
                for kind in peer.kinds:
                    try:
                        row = _measure(peer, kind, model, graph, Path(folder), options.seconds)
                    except SystemExit as error:
                        # One that does not start, or breaks off, says something about itself alone.
                        said = Path(folder, f"{peer.name}.log").read_text(errors="replace")
                        print(f"{peer.name} {kind}: {error}", *said.splitlines()[-3:], sep="\n  ")
                        continue
                    rows.append(row)
            _print(name, rows)
            _keep(name, rows)


def _measure(
    peer: Peer, kind: str, model: BenchModel, graph: Path, folder: Path, seconds: float
) -> Row:
    bare = _bare(graph, model)
    body, headers = encoded(model, kind)
    with _serving(peer, model, graph, folder) as (port, process, start):
        url = f"http://127.0.0.1:{port}{peer.path}"
        load = closed_loop
        if kind == "grpc":
            url = f"http://127.0.0.1:{port + 1}{peer.path}"
            load = closed_loop_grpc
        before = _not_well(port) if kind == "grpc" else 0
        load(url, body, headers, 8, 1)
        loads = {
            clients: max(
                (load(url, body, headers, clients, seconds) for _ in range(2)),
                key=lambda one: one.per_second,
            )
            for clients in CLIENTS
        }
        if kind == "grpc":
            loads[32] = replace(loads[32], errors=loads[32].errors + _not_well(port) - before)
        rss = _resident(process.pid)
        if any(one.errors for one in loads.values()):
            print(f"{peer.name} {kind}: answers other than 2xx; see the last column")
    after = _bare(graph, model).rates
    rates = {batch: (rate + after[batch]) / 2 for batch, rate in bare.rates.items()}
    return Row(f"{peer.name} {kind}", start, rss, loads, replace(bare, rates=rates))


def _bare(graph: Path, model: BenchModel) -> Bare:
    width = model.row.shape[1]
    command = [sys.executable, str(HERE / "bare.py"), str(graph), model.row.dtype.str, str(width)]
    done = subprocess.run(
        [*command, *map(str, BATCHES)], capture_output=True, text=True, check=True
    )
    return Bare(**json.loads(done.stdout))


def encoded(model: BenchModel, kind: str) -> tuple[bytes, dict[str, str]]:
    """One row as the body of a request."""
    given = {"name": "x", "datatype": model.datatype, "shape": list(model.row.shape)}
    if kind in ("flat", "rows"):
        rows = model.row.tolist()
        document = {"x": rows} if kind == "rows" else {"inputs": [given | {"data": rows[0]}]}
        return json.dumps(document).encode(), {"Content-Type": "application/json"}
    if kind == "json":
        document = {"inputs": [given | {"data": model.row.ravel().tolist()}]}
        return json.dumps(document).encode(), {"Content-Type": "application/json"}
    tensor = np.ascontiguousarray(model.row).tobytes()
    if kind == "grpc":
        return _message(model, tensor), {"content-type": "application/grpc", "te": "trailers"}
    given["parameters"] = {"binary_data_size": len(tensor)}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    return head + tensor, {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


def _message(model: BenchModel, tensor: bytes) -> bytes:
    """A ModelInferRequest in gRPC's frame."""
    from packager.runtime.grpc_service.messages import message

    request: Any = message("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype=model.datatype, shape=model.row.shape)
    request.raw_input_contents.append(tensor)
    data: bytes = request.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


@contextmanager
def _serving(
    peer: Peer, model: BenchModel, graph: Path, folder: Path
) -> Iterator[tuple[int, subprocess.Popen[bytes], float]]:
    port = _free_ports()
    log = (folder / f"{peer.name}.log").open("wb")
    began = time.perf_counter()
    # Peers start processes of their own, some of which outlive the one that started them.
    process = subprocess.Popen(
        peer.command(model, graph, port, folder),
        stdout=log,
        stderr=log,
        env=peer.environment(),
        process_group=0,
    )
    try:
        _wait(f"http://127.0.0.1:{port}{peer.ready}", process)
        yield port, process, time.perf_counter() - began
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"{url}: the server ended with {process.returncode}")
        time.sleep(0.02)
    raise SystemExit(f"{url}: not ready in 90 s")


def _not_well(port: int) -> int:
    """Answers other than 200 by the server's own count, since h2load does not look at grpc-status.
    499 are those that it has left behind at the end of its time."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        page = answer.read().decode()
    found = re.findall(r'^packager_http_responses_total\{status="(\d+)"\} (\d+)', page, re.M)
    return sum(int(count) for status, count in found if status not in ("200", "499"))


def _resident(pid: int) -> float:
    """MiB of a process and its children, shared pages counted once where the kernel tells."""
    total = 0.0
    for one in _family(pid):
        try:
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue
    return total


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        found.extend(map(int, children))
    return found


def _free_ports() -> int:
    """A port that nobody has, nor the one above it, which is for gRPC."""
    while True:
        with socket.socket() as probe, socket.socket() as above:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            with suppress(OSError, OverflowError):
                above.bind(("127.0.0.1", port + 1))
                return port


def _print(name: str, rows: list[Row]) -> None:
    print(f"\n{name}: ratios to the bare session measured just before and after each server")
    print(
        f"{'server':28} {'start s':>8} {'×bare':>6} {'MiB':>6} {'×bare':>6}"
        f" {'c1 /s':>8} {'p50 ms':>7} {'p99':>7} {'c32 /s':>8} {'p50':>7} {'p99':>7}"
        f" {'×best':>6} {'×b32':>6} {'errors':>6}"
    )
    for row in rows:
        one, many = row.loads[1], row.loads[32]
        print(
            f"{row.server:28} {row.start:8.2f} {row.start / row.bare.start:6.2f}"
            f" {row.rss:6.0f} {row.rss / row.bare.rss:6.2f}"
            f" {one.per_second:8.0f} {one.p50:7.2f} {one.p99:7.2f}"
            f" {many.per_second:8.0f} {many.p50:7.2f} {many.p99:7.2f}"
            f" {many.per_second / row.bare.best:6.2f}"
            f" {many.per_second / row.bare.rates['32']:6.2f}"
            f" {one.errors + many.errors:6}"
        )


def _ours(model: BenchModel, graph: Path, port: int, folder: Path) -> list[str]:
    image = RuntimeFolder(folder / f"ours-{model.name}")
    (y,) = onnxruntime.InferenceSession(model.graph).run(None, {"x": model.row})
    golden = {"input.x": model.row, "output.y": y}
    added = image.add("m", model.graph, model.inputs, model.outputs, golden=golden)
    added["batching"] = {"max_batch_size": 32, "inline_rows": model.inline_rows}
    if model.name == "encoder":
        added["batching"] = {}
    added["batching"]["instances"] = 2 if model.name == "encoder" else 1
    image.document["http"] |= {"max_concurrency": 256, "max_body_bytes": 32 << 20}
    return [
        *(sys.executable, "-m", "packager.runtime", "--config", str(image.write())),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def _ours_with_grpc(model: BenchModel, graph: Path, port: int, folder: Path) -> list[str]:
    command = _ours(model, graph, port, folder)
    config = Path(command[command.index("--config") + 1])
    document = json.loads(config.read_text()) | {"grpc": {"port": 0}}
    config.write_text(json.dumps(document))
    return [*command, "--grpc-port", str(port + 1)]


OURS = Peer(
    name="packager",
    path="/v2/models/m/infer",
    kinds=("binary", "json"),
    command=_ours,
    how="this checkout",
)


OURS_GRPC = replace(
    OURS,
    path="/inference.GRPCInferenceService/ModelInfer",
    kinds=("grpc",),
    command=_ours_with_grpc,
)


def _keep(name: str, rows: list[Row]) -> None:
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(
        json.dumps(known | {name: [asdict(row) for row in rows]}, indent=1, sort_keys=True) + "\n"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--peer", action="append")
    return parser.parse_args()


if __name__ == "__main__":
    main()
