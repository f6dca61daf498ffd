"""The runtime of the image, started on the GPU: served requests, and refusals with their words."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from session import golden, quantiles, relative_error

WIDER = 0.05
READY_SECONDS = 12
OIP = {"float32": "FP32", "int64": "INT64"}


def start(config: Path, environment: dict[str, str]) -> tuple[Started, int | None]:
    """The runtime, and its port when it became ready within `READY_SECONDS`."""
    started = Started(config, environment)
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and started.process.poll() is None:
        for line in started.words("out").splitlines():
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "ready":
                return started, told["port"]
        time.sleep(0.05)
    return started, None


class Started:
    """A runtime whose words go into files, so that a process that hangs is heard as well."""

    def __init__(self, config: Path, environment: dict[str, str]) -> None:
        self._room = Path(tempfile.mkdtemp())
        with (self._room / "out").open("wb") as out, (self._room / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "packager_runtime", "--config",
                 str(config), "--host", "127.0.0.1", "--port", "0"],
                env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    def words(self, name: str) -> str:
        return (self._room / name).read_text(errors="replace")

    def ended(self) -> dict[str, object]:
        """Its exit status and words; where it still runs, also where its threads are."""
        hung = self.process.poll() is None
        if hung:
            self.process.send_signal(signal.SIGABRT)  # faulthandler writes every thread's stack
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return {
            "exit_code": None if hung else self.process.returncode,
            "said": self.words("err")[-3000:],
            "journal": self.words("out")[-1500:],
        }


def body(inputs: dict[str, np.ndarray]) -> tuple[bytes, dict[str, str]]:
    """A request of the Open Inference Protocol with binary tensors."""
    described = [
        {"name": name, "shape": list(array.shape), "datatype": OIP[str(array.dtype)],
         "parameters": {"binary_data_size": array.nbytes}}
        for name, array in inputs.items()
    ]  # fmt: skip
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(array.tobytes() for array in inputs.values()), {
        "Inference-Header-Content-Length": str(len(head)),
        "Content-Type": "application/octet-stream",
    }


def ask(connection: http.client.HTTPConnection, path: str, packed: bytes, headers: dict[str, str]):
    connection.request("POST", path, packed, headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"HTTP {answer.status}: {data[:300]!r}")
    length = int(answer.headers["Inference-Header-Content-Length"])
    return json.loads(data[:length]), data[length:]


def mapped(pid: int) -> list[str]:
    """The GPU libraries in a process's memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    names = {line.split(None, 5)[5] for line in lines if "/" in line}
    return sorted(
        {Path(name).name for name in names if Path(name).name.startswith(("libcu", "libonnx"))}
    )


def serve(config: Path, name: str, environment: dict[str, str]) -> dict[str, object]:
    """Start the runtime on a model, compare an answer with the golden one, time requests, stop."""
    began = time.perf_counter()
    started, port = start(config, environment)
    process = started.process
    if port is None:
        return {"ready": False, **started.ended()}
    told: dict[str, object] = {
        "ready": True,
        "ready_seconds": round(time.perf_counter() - began, 2),
    }
    try:
        model = config.parent / "models" / name / "1"
        inputs, expected = golden(model)
        path = f"/v2/models/{name}/infer"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        head, raw = ask(connection, path, *body(inputs))
        output = head["outputs"][0]
        got = np.frombuffer(raw, np.float32).reshape(output["shape"])
        told["error_to_golden"] = relative_error(got, expected[output["name"]])
        one = body({key: array[:1] for key, array in inputs.items()})
        told["latency_batch_1"] = quantiles(times(connection, path, one, 2.0))
        told["requests_per_second_16_clients"] = flood(port, path, one, 16, 2.0)
        told["mapped_libraries"] = mapped(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            told["stopped_with"] = process.wait(15)
        except subprocess.TimeoutExpired:
            told["stopped_with"] = started.ended()
    return told


def times(connection, path: str, packed, seconds: float) -> list[float]:
    for _ in range(20):
        ask(connection, path, *packed)
    taken, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        ask(connection, path, *packed)
        taken.append(time.perf_counter() - began)
    return taken


def flood(port: int, path: str, packed, clients: int, seconds: float) -> float:
    counts = [0] * clients
    end = time.perf_counter() + seconds

    def one(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.perf_counter() < end:
            ask(connection, path, *packed)
            counts[number] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / seconds, 1)


def changed(folder: Path, name: str, change: Callable[[dict], object]) -> Path:
    """A configuration beside the packager's own, with something else about each model."""
    document = json.loads((folder / "server.json").read_text())
    for model in document["models"]:
        change(model)
    other = folder / f"{name}.json"
    other.write_text(json.dumps(document))
    return other


def loosened(folder: Path, tolerance: float) -> Path:
    """A golden self-test that allows so much."""
    return changed(
        folder,
        f"tolerance-{tolerance}",
        lambda model: model["golden"].update(tolerance=tolerance),
    )


def set_options(model: dict, options: dict[str, str]) -> None:
    """`name=value` is an option of the provider, `batching.name=value` one of the queue."""
    for name, value in options.items():
        if name.startswith("batching."):
            model["batching"][name.removeprefix("batching.")] = json.loads(value)
        else:
            model["provider_options"][name] = value


def main() -> None:
    """As packaged; where the golden self-test alone refuses, once more with a wider tolerance."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    config = folder / "server.json"
    if options := dict(text.split("=", 1) for text in sys.argv[3:]):
        config = changed(folder, "options", lambda model: set_options(model, options))
    told = serve(config, name, dict(os.environ))
    if "golden" in str(told.get("said")):
        wider = serve(loosened(folder, WIDER), name, dict(os.environ))
        told = {"as_packaged": told, "golden_tolerance": WIDER, **wider}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
