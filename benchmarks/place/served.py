"""The releases that the benchmarks of placement serve, started as `packager run` starts them.

Three releases, built by `packager build`: Magika's file types, MiniLM's sentence embeddings and a
convolution. The machine of these benchmarks is shared, so the server has one core
and the load generator the other one, before all others: the generator and the server's event loop
by `SCHED_FIFO`, its inferences by the weight of their session (Linux weighs sessions before it
looks at `nice`, and takes 50 ms at a stretch from a real-time task that keeps a core busy).
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.optimize.real_models import magika, minilm
from packager.domain.trust import TrustFiles
from packager.progress import SILENT
from packager.running import running
from tests.support.optimizer_models import convnet, convnet_samples

SERVER_CORE, CLIENT_CORE = 0, 1
BODIES = 64
_DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32"}


@dataclass(frozen=True)
class Example:
    """A release folder with its key, and the samples that clients send."""

    name: str
    release: Path
    key: Path
    samples: Path

    def record(self) -> dict[str, object]:
        """The evidence of its measurement."""
        (file,) = (self.release / "evidence" / "quality").glob("*.json")
        found: dict[str, object] = json.loads(file.read_text())
        return found

    def batch(self) -> int:
        """How many requests its server.json lets the server put together, 1 for none."""
        batching = self.record().get("batching") or {}
        return max(1, batching["max_batch_size"]) if isinstance(batching, dict) and batching else 1

    def bodies(self, timeout_ms: float | None = None) -> list[bytes]:
        """Whole HTTP requests of one row each, binary tensors; with a deadline where asked."""
        with np.load(self.samples) as archive:
            feeds = {name: archive[name] for name in archive.files}
        rows = len(next(iter(feeds.values())))
        return [
            _request(self.name, {name: feed[row : row + 1] for name, feed in feeds.items()},
                     timeout_ms)
            for row in range(min(rows, BODIES))
        ]  # fmt: skip


def _request(model: str, row: dict[str, np.ndarray], timeout_ms: float | None) -> bytes:
    inputs, tail = [], b""
    for name, array in row.items():
        data = np.ascontiguousarray(array).tobytes()
        inputs.append(
            {
                "name": name,
                "datatype": _DATATYPES[str(array.dtype)],
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(data)},
            }
        )
        tail += data
    parameters: dict[str, object] = {"binary_data_output": True}
    if timeout_ms is not None:
        parameters["timeout"] = round(timeout_ms * 1000)
    head = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
    return (
        (
            f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(head) + len(tail)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n"
        ).encode()
        + head
        + tail
    )


def examples(folder: Path, minilm_package: Path | None) -> list[Example]:
    """Build the releases into `folder`, or take those that are there from an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "site.pem"
    if not key.exists():
        _packager("keys", "generate", "-o", key)
    found = []
    for name in ("convolution", "magika", *(("minilm",) if minilm_package else ())):
        release = folder / f"release-{name}"
        source = folder / name
        if not release.exists():
            model = _make(name, source, minilm_package)
            _packager(
                *("build", model, "--samples", source / "samples.npz", "--name", name),
                *("-j", "de", "-w", "x86-64-v3", "-p", "compose"),
                *("--region", "aws/eu-central-1", "--license", "Apache-2.0"),
                *("--key", key, "--lock", folder / "packager.lock", "-o", release),
            )
        found.append(Example(name, release, key.with_suffix(".pub"), source / "samples.npz"))
    return found


def _make(name: str, folder: Path, package: Path | None) -> Path:
    if name == "magika":
        return magika(folder)[1]
    if name == "minilm" and package is not None:
        return minilm(package, folder)[1]
    folder.mkdir(exist_ok=True)
    onnx.save(convnet((32, 64, 96), 64), folder / "model.onnx")
    np.savez(folder / "samples.npz", **convnet_samples(200, 64))  # type: ignore[arg-type]
    return folder / "model.onnx"


def _packager(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "packager", *map(str, arguments)], check=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """This process as a load generator that nothing keeps waiting."""
    gc.disable()
    _before_all(os.getpid(), 1)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()


def _before_all(thread: int, priority: int) -> None:
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(thread, policy, os.sched_param(priority))
    except PermissionError as error:
        raise SystemExit("needs the right to real-time priorities (CAP_SYS_NICE)") from error


@contextmanager
def served(example: Example) -> Iterator[int]:
    """The release on a port of loopback, verified, on a core of its own."""
    os.sched_setaffinity(0, {SERVER_CORE})  # the server inherits it, and counts its cores by it
    with running(
        example.release,
        TrustFiles((example.key,)),
        target=None,
        port=None,
        engine_choice="process",
        progress=SILENT,
    ) as server:
        os.sched_setaffinity(0, {CLIENT_CORE})
        Path(f"/proc/{server.process.pid}/autogroup").write_text("-20")
        _before_all(server.process.pid, 2)
        yield int(server.url.rpartition(":")[2])
    os.sched_setaffinity(0, {SERVER_CORE, CLIENT_CORE})
