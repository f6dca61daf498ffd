"""The runtime of the image, started on the GPU: served requests, and refusals with their words."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from session import golden, quantiles, relative_error

WIDER = 0.05
OIP = {"float32": "FP32", "int64": "INT64"}


def start(config: Path, environment: dict[str, str]) -> tuple[subprocess.Popen, int | None, str]:
    """The process, its port when it became ready, and what it wrote on stderr when not."""
    process = subprocess.Popen(
        [sys.executable, "-m", "packager_runtime", "--config", str(config), "--host", "127.0.0.1",
         "--port", "0"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        told = json.loads(line)
        if told.get("event") == "ready":
            return process, told["port"], ""
    _, words = process.communicate(timeout=20)
    return process, None, words.strip()


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
    process, port, words = start(config, environment)
    if port is None:
        return {"ready": False, "exit_code": process.returncode, "said": words[:1200]}
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
        told["stopped_with"] = process.wait(30)
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


def loosened(folder: Path, tolerance: float) -> Path:
    """A configuration beside the packager's own, whose golden self-test allows more."""
    document = json.loads((folder / "server.json").read_text())
    for model in document["models"]:
        model["golden"]["tolerance"] = tolerance
    other = folder / "loosened.json"
    other.write_text(json.dumps(document))
    return other


def main() -> None:
    """As packaged; where the golden self-test alone refuses, once more with a wider tolerance."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    told = serve(folder / "server.json", name, dict(os.environ))
    if "golden" in str(told.get("said")):
        wider = serve(loosened(folder, WIDER), name, dict(os.environ))
        told = {"as_packaged": told, "golden_tolerance": WIDER, **wider}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
