"""Fills a folder with the proof: `python -m benchmarks.assemble.gpu_proof.make FOLDER`.

Needs pip (wheels for Python 3.12 are downloaded into `--wheels`, if they are not there yet), gcc
and nm, and some minutes of one core. See the package's docstring for what is proven.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import lzma
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import onnxruntime as ort

from benchmarks.assemble.gpu_proof.cases import cases
from benchmarks.assemble.gpu_proof.graphs import DATA, convolution, transformer
from benchmarks.assemble.gpu_proof.on_device import weights
from packager.archive import Entry, write_tar
from packager.assemble.fat_binary import capability_number, read_fat_binary, taken
from packager.assemble.gpu_libraries import families_of, file_patterns, is_left_out
from packager.assemble.pruning import is_dropped
from packager.assemble.recipe import SITE_PACKAGES
from packager.assemble.server_config import server_config
from packager.assemble.slimming import SLIMMED, Cut, find_cut
from packager.assemble.unpacked import unpacked
from packager.assemble.wheel_archive import read_wheel
from packager.catalogue import load_catalogue
from packager.domain.model import (
    Candidate,
    Model,
    Objective,
    OptimizedModel,
    QualityBudget,
    Verdict,
)
from packager.domain.release import PlannedTarget, ReleaseRequest
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName
from packager.optimize.reading import read_model
from packager.resources import runtime_files

HERE = Path(__file__).parent
CAPABILITY = "9.0"
PROFILE = "nvidia-h100-sxm-80-cuda13"
PYTHON = "3.12"
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
_PINNED = ("numpy==2.5.5", "httptools==0.9.0", "orjson==3.13.0")
# The C library finds x86 code by its branches: 2 % smaller.
_FILTERS = [
    {"id": lzma.FILTER_X86},
    {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 384 << 20},
]
_NUMPY_UNUSED = ("/numpy/random/", "/numpy/polynomial/", "/numpy/ma/", "/numpy/_core/_simd.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wheels", type=Path, default=Path(tempfile.gettempdir(), "gpu-proof"))
    asked = parser.parse_args()
    catalogue = load_catalogue()
    hardware = catalogue.hardware(PROFILE)
    provider = f"onnxruntime-gpu=={hardware.wheel.version}"
    download(asked.wheels, provider)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        room = Path(scratch)
        site, cut, kept = site_packages(asked.wheels, room)
        made = {
            "transformer": transformer(),
            "convolution": convolution(),
        }
        served = [
            entry
            for name, (graph, tensors) in made.items()
            for entry in served_model(room / name, name, graph, tensors)
        ]
        facts = {
            "made_from": {
                "provider": provider,
                "python": PYTHON,
                "profile": PROFILE,
                "cut": cut.as_dict() | {"zeroed": f"{len(cut.spans)} spans"},
            },
            "families": file_patterns(),
            "libraries": {
                name: sorted(families_of(hardware.wheel, operators))
                for name, operators in _operators(room, made).items()
            },
            "kept_spans": kept,
        }
        entries = [
            *site,
            *served,
            *operator_models(),
            Entry.of_bytes("facts.json", json.dumps(facts).encode()),
        ]
        with lzma.open(
            asked.folder / "parts.tar.xz", "wb", check=lzma.CHECK_SHA256, filters=_FILTERS
        ) as stream:
            write_tar(cast(BinaryIO, stream), entries)
    for file in on_device():
        (asked.folder / file.name).write_bytes(file.read_bytes())
    size = sum(file.stat().st_size for file in asked.folder.iterdir())
    print(f"{asked.folder}: {size / 2**20:.1f} MiB")


def on_device() -> list[Path]:
    return sorted(file for file in (HERE / "on_device").iterdir() if file.is_file())


def download(folder: Path, provider: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={name}" for name in _PLATFORMS]
    subprocess.run([*command, provider, *_PINNED], check=True)


def site_packages(wheels: Path, room: Path) -> tuple[list[Entry], Cut, list[tuple[int, int]]]:
    """What of an image's site-packages the proof needs, cut by the code that cuts images."""

    def dropped(path: str) -> bool:
        unused = any(part in f"/{path}" for part in _NUMPY_UNUSED)
        return is_dropped(path) or is_left_out(path, ()) or unused

    found: dict[str, Entry] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        for entry in read_wheel(wheel, wheel.name, dropped):
            found.setdefault(entry.path, entry)
    cut = find_cut(found[SLIMMED], CAPABILITY)
    kept = kept_spans(found[SLIMMED])
    if not (applied := cut.applied(found[SLIMMED])):
        raise RuntimeError(f"{SLIMMED} is not what was cut")
    found[SLIMMED] = applied[0]
    _replace_blas(found, room)
    for name, file in runtime_files():
        path = f"{SITE_PACKAGES}/packager_runtime/{name}"
        found[path] = Entry.of_file(path, file)
    return [_moved(entry, "site") for entry in found.values()], cut, kept


def kept_spans(provider: Entry) -> list[tuple[int, int]]:
    """Where the device code for the GPU lies: zeroed on the machine to see that it is missed."""
    number = capability_number(CAPABILITY)
    with unpacked(provider) as data:
        return [
            (entry.offset, entry.offset + entry.size)
            for container in read_fat_binary(data, provider.path)
            for entry in container
            if entry.code in taken(container, number)
        ]


def _replace_blas(found: dict[str, Entry], room: Path) -> None:
    (path,) = [path for path in found if "/numpy.libs/libscipy_openblas64_" in path]
    symbols = set()
    for number, entry in enumerate(
        [entry for entry in found.values() if "/numpy/" in entry.path and ".so" in entry.path]
    ):
        copy = room / f"{number}.so"
        if entry.open:
            with entry.open() as stream:
                copy.write_bytes(stream.read())
        told = subprocess.run(
            ["nm", "-D", "--undefined-only", copy], capture_output=True, text=True, check=True
        ).stdout
        symbols |= {word for word in told.split() if word.startswith("scipy_")}
    source = room / "stub.c"
    absent = "".join(f"ABSENT({name})\n" for name in sorted(symbols - {"scipy_cblas_sdot64_"}))
    source.write_text((HERE / "blas_stub.c").read_text() + absent)
    stub = room / "stub.so"
    soname = f"-Wl,-soname,{Path(path).name}"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-s", soname, "-o", stub, source], check=True)
    found[path] = Entry.of_file(path, stub, executable=True)


def served_model(room: Path, name: str, graph: bytes, tensors: list[dict]) -> Iterator[Entry]:
    """The folder that the runtime serves, without the weights: they are made where it runs."""
    folder = room
    folder.mkdir()
    (folder / "model.onnx").write_bytes(graph)
    weights.write(folder / DATA, tensors)
    session = ort.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    inputs = example(name)
    outputs = session.run(["scores"], inputs)
    golden = folder / "golden.npz"
    np.savez_compressed(
        golden,
        **{f"input.{key}": value for key, value in inputs.items()},
        **{"output.scores": outputs[0]},
    )
    print(f"{name}: scores spread {np.std(outputs[0]):.3f}, largest {np.abs(outputs[0]).max():.3f}")
    golden = _without(folder, golden)
    model = read_model(folder)
    config = server_config(_target(), _request(name), [_optimized(model, golden)])
    inside = f"{name}/models/{name}/1"
    yield Entry.of_bytes(f"{name}/server.json", config)
    yield Entry.of_bytes(f"{inside}/model.onnx", graph)
    yield Entry.of_file(f"{inside}/golden.npz", golden)
    yield Entry.of_bytes(f"{inside}/weights.json", json.dumps(tensors).encode())


def _without(folder: Path, file: Path) -> Path:
    """Beside the model's folder: what is in it must be the model's."""
    return file.rename(folder.with_name(f"{folder.name}.{file.name}"))


def example(name: str) -> dict[str, np.ndarray]:
    """Two rows of input; the picture has few levels, so that it packs."""
    if name == "transformer":
        return {"ids": (np.arange(256, dtype=np.int64) * 2654435761 % 8192).reshape(2, 128)}
    picture = np.round(weights.values("picture", (2, 3, 28, 28), 2.0, "float32"))
    return {"image": np.repeat(np.repeat(picture, 8, axis=2), 8, axis=3)}


def operator_models() -> Iterator[Entry]:
    described = []
    for number, (case, model) in enumerate(cases()):
        described.append(case)
        yield Entry.of_bytes(f"operators/{number}.onnx", model)
    yield Entry.of_bytes("operators/cases.json", json.dumps(described).encode())


def _operators(room: Path, made: dict) -> dict[str, frozenset[str]]:
    return {name: read_model(room / name).operators for name in made}


def _moved(entry: Entry, folder: str) -> Entry:
    path = f"{folder}/{entry.path.removeprefix(f'{SITE_PACKAGES}/')}"
    return Entry(path, entry.kind, entry.size, entry.executable, entry.target, entry.open)


def _target() -> PlannedTarget:
    catalogue = load_catalogue()
    return PlannedTarget(
        TargetName("de", PROFILE, DeploymentPlatform.COMPOSE),
        catalogue.jurisdiction("de"),
        catalogue.hardware(PROFILE),
        (Region("site", "laboratory"),),
        None,
        "localhost/proof:1",
        "proof",
    )


def _request(name: str) -> ReleaseRequest:
    return ReleaseRequest(
        name=name,
        version="1",
        model_path=Path("model.onnx"),
        model_license="Apache-2.0",
        samples=None,
        quality=QualityBudget(),
        objective=Objective.LATENCY,
        data_class=DataClass.PUBLIC,
        targets=(),
        registries={},
        sites={},
        registry_countries={},
        signing_keys=(),
        where="proof",
    )


def _optimized(model: Model, golden: Path) -> OptimizedModel:
    chosen = Candidate("source", model.precision, Verdict.CHOSEN, "as it is", ())
    return OptimizedModel(model, model, (chosen,), "not measured", golden, 0, (), PROFILE)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
