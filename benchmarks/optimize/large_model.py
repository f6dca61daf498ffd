"""A model with three gigabytes of weights beside its graph, through the command line.

`python -m benchmarks.optimize.large_model FOLDER [--gigabytes 3] [--address-space 8]`: makes the
model in FOLDER (a table of embeddings, mostly zeros so that the disk holds little, and a few matrix
products), optimizes it for size with no process allowed more address space than said (in GiB), and
holds the choice's answers against the source's. Prints the table with every reason, seconds, and
the largest resident memory of any process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from packager.optimize.engine import open_session

WIDTH, SAMPLES, LENGTH = 384, 700, 8
ROOT = Path(__file__).resolve().parents[2]
RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: large, version: 1.0.0}
model: {path: model, samples: samples.npz}
quality: {metric: cosine, at_least: 0.98}
objective: size
targets: [{jurisdiction: de, hardware: intel-xeon-amx, platform: compose, regions: [site/here]}]
sites: {here: DE}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--address-space", type=int, default=8)
    asked = parser.parse_args()
    room: Path = asked.folder
    room.mkdir(parents=True)
    rows = int(asked.gigabytes * 1e9 / (4 * WIDTH))
    make(room / "model", rows)
    random = np.random.RandomState(3)
    np.savez(room / "samples.npz", ids=random.randint(0, rows, (SAMPLES, LENGTH)).astype(np.int64))
    (room / "release.yaml").write_text(RELEASE)
    bound = asked.address_space << 30
    started = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "packager", "optimize", str(room / "release.yaml")),
            *("-o", str(room / "out"), "--jobs", "1", "--json"),
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
    )
    seconds = time.monotonic() - started
    told = json.loads(done.stdout)
    print(json.dumps({"exit_code": done.returncode, "seconds": round(seconds, 1)}))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"largest_resident_gb": round(peak * 1024 / 1e9, 2)}))
    if done.returncode:
        print(json.dumps(told, indent=1))
        return done.returncode
    ((name, record),) = told.items()
    for row in record["candidates"]:
        print(f"{row['name']:24} {row['verdict']:9} {row.get('size', '')!s:12} {row['reason']}")
    chosen = next((room / "out/models" / name).glob("*.onnx"))
    print(json.dumps({"chosen": record["chosen"], "least_cosine": likeness(room, chosen)}))
    return 0


def make(folder: Path, rows: int) -> None:
    """ids[N, 8] → mean of embeddings → two products; a row in 64 of the table is not zero."""
    folder.mkdir()
    random = np.random.RandomState(1)
    data = np.memmap(folder / "weights.bin", np.float32, "w+", shape=(rows, WIDTH))
    common = random.standard_normal(WIDTH).astype(np.float32)
    for start in range(0, rows, 1 << 16):
        some = data[start : start + (1 << 16) : 64]
        some[:] = random.standard_normal(some.shape) * 0.5 + common
    data.flush()
    embedding = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, WIDTH])
    embedding.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(data.nbytes))):
        embedding.external_data.add(key=key, value=value)
    first = random.standard_normal((WIDTH, 4 * WIDTH)).astype(np.float32) / 20
    second = random.standard_normal((4 * WIDTH, 64)).astype(np.float32) / 40
    bias = random.standard_normal(4 * WIDTH).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "w1"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    weights = [
        embedding,
        *(numpy_helper.from_array(a, n) for a, n in ((first, "w1"), (bias, "b"), (second, "w2"))),
    ]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    onnx.checker.check_model(str(folder / "model.onnx"))


def likeness(room: Path, chosen: Path) -> float:
    """The lowest cosine between the answers of source and choice on 100 samples."""
    with np.load(room / "samples.npz") as archive:
        ids = archive["ids"][:100]
    a, b = (
        open_session(graph, 1).run(None, {"ids": ids})[0]
        for graph in (room / "model/model.onnx", chosen)
    )
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


if __name__ == "__main__":
    sys.exit(main())
