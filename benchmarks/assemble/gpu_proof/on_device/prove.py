"""Proves a slimmed CUDA provider on this machine's GPU, step by step, each in its own process.

A step that fails is written down and the next one runs. `verdict` in the record is true for what
was shown; nothing is shown by a step that could not run.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

BEGAN, LIMIT = time.monotonic(), 185
ROOM, OUT = Path(sys.argv[1]), Path(sys.argv[2])
HERE, ONLY = Path(__file__).parent, set(sys.argv[3:])
FACTS = json.loads((ROOM / "facts.json").read_text())
TRANSFORMER, CONVOLUTION = ROOM / "transformer", ROOM / "convolution"


def library_folder(name: str, families: list[str]) -> Path:
    """A folder with what an image with these families holds, and nothing else."""
    folder = ROOM / "libraries" / name
    folder.mkdir(parents=True)
    patterns = [re.compile(FACTS["families"][family]) for family in families]
    for place in [Path(path) for path in sys.path if "packages" in path]:
        for file in sorted(place.glob("nvidia/**/lib/*.so*")):
            link = folder / file.name
            if not link.exists() and any(one.fullmatch(file.name) for one in patterns):
                link.symlink_to(file.resolve())
    return folder


def environment(libraries: Path, site: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONPATH": f"{site}:{HERE}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        **more,
    }


def step(record: dict, name: str, *command: object, seconds: int = 30, **options) -> dict:
    """Run a script; its line of JSON is the outcome, or what went wrong."""
    if ONLY and name not in ONLY:
        return {}
    left = LIMIT - (time.monotonic() - BEGAN)
    start = time.perf_counter()
    if left < 5:
        told: dict = {"ok": False, "error": "no time was left"}
    else:
        try:
            done = subprocess.run(
                [sys.executable, *map(str, command)], capture_output=True, text=True,
                timeout=min(seconds, left), **options,
            )  # fmt: skip
            told = json.loads(done.stdout.strip().splitlines()[-1])
        except subprocess.TimeoutExpired:
            told = {"ok": False, "error": f"not done within {min(seconds, left):.0f} s"}
        except (IndexError, ValueError):
            told = {"ok": False, "error": f"exit {done.returncode}: {done.stderr[-800:]}"}
    told["step_seconds"] = round(time.perf_counter() - start, 1)
    record["steps"][name] = told
    (OUT / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"{name}: {json.dumps(told)[:400]}", flush=True)
    return told


def blinded(site: Path) -> Path:
    """The same site-packages with the kept device code zeroed too: the proof that zeros show."""
    other = ROOM / "blinded"
    shutil.copytree(site, other, copy_function=os.link)
    provider = other / "onnxruntime/capi/libonnxruntime_providers_cuda.so"
    provider.unlink()
    shutil.copyfile(site / "onnxruntime/capi/libonnxruntime_providers_cuda.so", provider)
    with provider.open("r+b") as stream:
        for start, end in FACTS["kept_spans"]:
            stream.seek(start)
            stream.write(bytes(end - start))
    return other


def machine(site: Path) -> dict[str, object]:
    asked = "name,driver_version,compute_cap,memory.total,power.limit"
    tool = shutil.which("nvidia-smi")
    told = tool and subprocess.run(
        [tool, f"--query-gpu={asked}", "--format=csv,noheader"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    installed = {
        found.metadata["Name"].lower(): found.version
        for found in importlib.metadata.distributions()
        if found.metadata["Name"]
        and found.metadata["Name"].lower().startswith(("nvidia-", "torch"))
    }
    return {
        "gpu": dict(zip(asked.split(","), (told or "").split(", "), strict=False)) or told,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "libraries": dict(sorted(installed.items())),
        "site": site.name,
    }


def main() -> None:
    for model in (TRANSFORMER, CONVOLUTION):
        folder = model / "models" / model.name / "1"
        subprocess.run(
            [sys.executable, HERE / "make_weights.py", folder], check=True,
            env={**os.environ, "PYTHONPATH": f"{ROOM / 'site'}:{HERE}"},
        )  # fmt: skip
    site = ROOM / "site"
    linked, with_cudnn = FACTS["libraries"]["transformer"], FACTS["libraries"]["convolution"]
    lean = library_folder("transformer", linked)
    full = library_folder("convolution", with_cudnn)
    every = library_folder("all", sorted(FACTS["families"]))
    record: dict = {"made_from": FACTS["made_from"], "machine": machine(site), "steps": {}}
    record["image_libraries"] = {
        folder.name: sorted(file.name for file in folder.iterdir())
        for folder in (lean, full, every)
    }
    text, image = (model / "models" / model.name / "1" for model in (TRANSFORMER, CONVOLUTION))
    session = HERE / "session.py"
    no_cudnn = ("--option", "enable_cudnn=0")
    at_hand = {"env": environment(lean, site)}

    gpu = step(record, "transformer", session, text, "cuda", "--time", *no_cudnn, **at_hand)
    step(record, "transformer_no_jit", session, text, "cuda", *no_cudnn,
         env=environment(lean, site, CUDA_DISABLE_PTX_JIT="1"))  # fmt: skip
    served = step(record, "transformer_served", HERE / "serving.py", TRANSFORMER, "transformer",
                  **at_hand)  # fmt: skip
    conv = step(record, "convolution", session, image, "cuda", "--time",
                env=environment(full, site))  # fmt: skip
    step(record, "convolution_no_tf32", session, image, "cuda", "--option", "use_tf32=0",
         env=environment(full, site))  # fmt: skip
    conv_served = step(record, "convolution_served", HERE / "serving.py", CONVOLUTION,
                       "convolution", env=environment(full, site))  # fmt: skip
    step(record, "transformer_served_plain", HERE / "serving.py", TRANSFORMER, "transformer",
         "batching.cuda_graphs=[]", **at_hand)  # fmt: skip
    for search in ("EXHAUSTIVE", "HEURISTIC"):
        for sizes in ("[]", "[8]", "[16]", "[32]"):
            name = f"convolution_served_{search.lower()}_{sizes.strip('[]') or 'any'}"
            step(record, name, HERE / "serving.py", CONVOLUTION, "convolution",
                 f"cudnn_conv_algo_search={search}", f"batching.fill_up={sizes}",
                 "batching.cuda_graphs=[]", env=environment(full, site))  # fmt: skip
    step(record, "transformer_bound", HERE / "binding.py", text, "enable_cudnn=0", **at_hand)
    step(record, "convolution_bound", HERE / "binding.py", image,
         "cudnn_conv_algo_search=HEURISTIC", env=environment(full, site))  # fmt: skip
    refused = step(record, "convolution_without_cudnn", HERE / "serving.py", CONVOLUTION,
                   "convolution", **at_hand)  # fmt: skip
    hidden = step(record, "transformer_without_gpu", HERE / "serving.py", TRANSFORMER,
                  "transformer", env=environment(lean, site, CUDA_VISIBLE_DEVICES=""))  # fmt: skip
    step(record, "refusal_that_leaves_as_usual", HERE / "leaving.py", TRANSFORMER, **at_hand)
    sweep = step(record, "operators", HERE / "operators.py", ROOM / "operators", seconds=100,
                 env=environment(every, site))  # fmt: skip
    blind = step(record, "control_all_code_zeroed", session, text, "cuda", *no_cudnn,
                 env=environment(lean, blinded(site)))  # fmt: skip
    step(record, "transformer_cpu", session, text, "cpu", **at_hand)

    counts = sweep.get("counts", {})
    bad = ("missing_kernel", "wrong", "failed", "not_tried")
    record["verdict"] = {
        "slimmed_provider_starts": bool(gpu.get("ok")),
        "transformer_agrees_with_cpu": near(gpu, 0.05),
        "convolution_agrees_with_cpu": near(conv, 0.05),
        "operators_none_missing": bool(counts.get("ran"))
        and not any(counts.get(kind) for kind in bad),
        "no_kernel_missing": bool(counts.get("ran")) and not counts.get("missing_kernel"),
        "zeroed_code_would_be_noticed": blind.get("ok") is False
        and re.search("cuda|kernel", str(blind.get("error")), re.IGNORECASE) is not None,
        "runtime_serves_transformer_on_cuda": bool(served.get("ready")),
        "runtime_serves_convolution_on_cuda": bool(conv_served.get("ready")),
        "missing_library_is_named": refused.get("exit_code") == 69
        and "libcudnn.so.9" in str(refused.get("said"))
        and "libcublas" not in str(refused.get("said")),
        "missing_gpu_is_named": hidden.get("exit_code") == 69
        and "the driver shows none" in str(hidden.get("said")),
    }
    record["seconds"] = round(time.monotonic() - BEGAN, 1)
    (OUT / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["verdict"], indent=1))


def near(told: dict, bound: float) -> bool:
    errors = told.get("error_to_golden")
    return bool(errors) and bool(told.get("finite")) and max(errors.values()) <= bound


if __name__ == "__main__":
    main()
