"""The dynamic batcher at concurrency 8: what the optimizer baked, and whether the server agrees.

`python -m benchmarks.optimize.batcher [--convnet] [--encoder] [--wide] [--magika] [--minilm FOLDER]
[--angle FILE] [--out FILE]`. The model is optimized for latency (its budget as in `real_models`; of
the made ones top-1 agreement), the choice is served by our server as server.json would have it,
with putting requests together and without, and eight clients ask one row each in closed loops,
the two servers in turns. Criterion 10: on a CPU batching pays and is on, or it does not and is off.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.optimize.cases import Case
from benchmarks.optimize.cases.files import magika
from benchmarks.optimize.cases.images import angle
from benchmarks.optimize.cases.made import minilm_shaped, residual
from benchmarks.optimize.cases.text import minilm
from benchmarks.runtime.compare import _serving
from benchmarks.runtime.load import closed_loop
from benchmarks.runtime.models import wide
from benchmarks.runtime.peers import Peer
from packager.assemble.queueing import MAX_BATCH_SIZE, queueing
from packager.catalogue import load_catalogue
from packager.domain.model import Metric, Objective, OptimizedModel, QualityBudget
from packager.optimize.optimizing import opened, optimize
from packager.optimize.reading import read_model
from packager.optimize.record import BATCHING_PAYS
from packager.optimize.samples import read_samples
from packager.optimize.task import read_task
from packager.progress import SILENT
from tests.support.tiny_models import RuntimeFolder

HARDWARE, CLIENTS, ROUNDS, SECONDS = "intel-xeon-amx", 8, 5, 2
Made = tuple[OptimizedModel, dict[str, np.ndarray]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("minilm", "angle"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("convnet", "encoder", "wide", "magika"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    opens: dict[str, Callable[[Path], Case]] = {
        "convnet": lambda room: fitted(room, residual),
        "encoder": lambda room: fitted(room, minilm_shaped),
        "wide": widest,
        "magika": magika,
        "minilm": lambda room: minilm(asked.minilm, room),
        "angle": lambda room: angle(asked.angle, room),
    }
    held = True
    wanted = [name for name in opens if getattr(asked, name)] or ["convnet"]
    for name, case in opens.items():
        if name in wanted:
            with tempfile.TemporaryDirectory() as scratch:
                row = served(*chosen(case(Path(scratch, name))), Path(scratch))
            print(json.dumps({name: row}, indent=1), flush=True)
            held = held and bool(row["held"])
            if asked.out:
                known = json.loads(asked.out.read_text()) if asked.out.exists() else {}
                asked.out.write_text(json.dumps(known | {name: row}, indent=1) + "\n")
    return 0 if held else 1


def fitted(room: Path, make: Callable[[Path, int], Any]) -> Case:
    graph, feeds, _ = make(room, 1000)
    np.savez(room / "samples.npz", **feeds)
    budget = QualityBudget(Metric.TOP1_AGREEMENT, 0.99)
    return Case(room.name, graph, room / "samples.npz", budget, lambda _: {})


def widest(room: Path) -> Case:
    """The MLP of the runtime's benchmarks whose weights are read once a batch: batches pay."""
    room.mkdir()
    model = wide()
    (room / "model.onnx").write_bytes(model.graph)
    random = np.random.RandomState(2)
    np.savez(room / "samples.npz", x=random.standard_normal((1000, 512)).astype(np.float32))
    budget = QualityBudget(Metric.COSINE, 0.9999)  # in FP32, as it is served there
    return Case(room.name, room / "model.onnx", room / "samples.npz", budget, lambda _: {})


def chosen(case: Case) -> Made:
    """The optimizer's choice, and one row of its inputs."""
    model, into = read_model(case.model), case.samples.parent / "out"
    into.mkdir()
    samples = read_samples(case.samples, model)
    task = read_task(case.files, samples) if case.files else None
    with opened(model, samples, case.budget, into, SILENT, task=task) as bench:
        optimized, _ = optimize(
            bench,
            hardware=load_catalogue().hardware(HARDWARE),
            objective=Objective.LATENCY,
            record=None,
            into=into,
            progress=SILENT,
        )
    with np.load(case.samples) as archive:
        return optimized, {name: archive[name][:1] for name in archive.files}


def served(optimized: OptimizedModel, row: dict[str, np.ndarray], scratch: Path) -> dict[str, Any]:
    """Both servers in turns under the same load."""
    target: Any = SimpleNamespace(hardware=load_catalogue().hardware(HARDWARE))
    baked = queueing(target, optimized) or {}
    alone = {key: value for key, value in baked.items() if key != "max_batch_size"}
    together = {**alone, "max_batch_size": baked.get("max_batch_size", MAX_BATCH_SIZE)}
    body, headers = request(optimized, row)
    rates: dict[str, list[float]] = {"alone": [], "together": []}
    errors = 0
    with ExitStack() as stack:
        doors = {}
        for name, batching in (("alone", alone), ("together", together)):
            peer = server(name, optimized, batching)
            started = stack.enter_context(_serving(peer, None, Path(), scratch))  # type: ignore[arg-type]
            doors[name] = f"http://127.0.0.1:{started[0]}{peer.path}"
        for door in doors.values():
            closed_loop(door, body, headers, CLIENTS, 1)
        for turn in range(ROUNDS):
            for name in sorted(doors, reverse=bool(turn % 2)):
                load = closed_loop(doors[name], body, headers, CLIENTS, SECONDS)
                rates[name].append(load.per_second)
                errors += load.errors
    pairs = list(zip(rates["alone"], rates["together"], strict=True))
    gain = median(b / a for a, b in pairs)
    on = "max_batch_size" in baked
    return {
        "chosen": optimized.chosen.name,
        "threads": optimized.intra_op_threads,
        "baked": baked,
        "gain of batches when it was optimized": optimized.batching.gain
        if optimized.batching
        else None,
        "requests a second, 8 clients, alone and together": [
            round(median(own), 1) for own in rates.values()
        ],
        "gain in the server": round(gain, 2),
        "rounds": [round(b / a, 2) for a, b in pairs],
        "errors": errors,
        # what is on must not cost; what is off must not leave 1.5 times the throughput behind
        "held": errors == 0 and (gain >= 1 if on else gain < 1.5),
        "off, and at least BATCHING_PAYS was left": not on and gain >= BATCHING_PAYS,
    }


def server(name: str, optimized: OptimizedModel, batching: dict[str, object]) -> Peer:
    def command(_: Any, __: Path, port: int, folder: Path) -> list[str]:
        image = RuntimeFolder(folder / f"served-{name}")
        assert optimized.golden
        with np.load(optimized.golden) as archive:
            golden = {key: archive[key] for key in archive.files}
        model = image.add(
            "m",
            optimized.model.files[0].path.read_bytes(),
            [one.as_dict() for one in optimized.model.inputs],
            [one.as_dict() for one in optimized.model.outputs],
            golden=golden,
        )
        model["intra_op_threads"] = optimized.intra_op_threads
        if batching:
            model["batching"] = batching
        image.document["http"] |= {"max_concurrency": 256, "max_body_bytes": 32 << 20}
        return [
            *(sys.executable, "-m", "packager.runtime", "--config", str(image.write())),
            *("--host", "127.0.0.1", "--port", str(port)),
        ]

    return Peer(name, "/v2/models/m/infer", ("binary",), command, "this checkout")


def request(optimized: OptimizedModel, row: dict[str, np.ndarray]) -> tuple[bytes, dict[str, str]]:
    """One row, its tensors as bytes."""
    described, tensors = [], []
    for spec in optimized.model.inputs:
        tensors.append(np.ascontiguousarray(row[spec.name]).tobytes())
        described.append(
            {
                "name": spec.name,
                "datatype": spec.as_dict()["datatype"],
                "shape": list(row[spec.name].shape),
                "parameters": {"binary_data_size": len(tensors[-1])},
            }
        )
    document = {"inputs": described, "parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    return head + b"".join(tensors), {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }


if __name__ == "__main__":
    sys.exit(main())
