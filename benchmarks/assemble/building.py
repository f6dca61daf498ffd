"""How long images take, side by side in one run: `python -m benchmarks.assemble.building`.

A cold build (downloads cached, nothing else) with its push into a local registry, against `docker
build` with `docker push` and `buildah` of the same files, unpacked for them beforehand; a warm
build; twelve targets against one. Needs root, Docker, docker-registry, the tree of
tests/peers/install.sh, and some minutes. Where others use the machine, give the Docker daemon the
priority that this process has: it does its work in a session of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from engines import docker_registry  # found by the line above
from peer_engines import engine_room

from packager.decompression import plain

PACKAGER = (sys.executable, "-m", "packager")
TARGET = ("-w", "x86-64-v3", "-p", "kubernetes", "--region", "aws/eu-central-1")
COUNTRIES = ("de", "fr", "nl", "it", "es", "pl", "at", "be", "se", "fi", "ie", "dk")


def model(path: Path, megabytes: int, seed: int = 0) -> Path:
    """One matrix product whose weights are noise, of about that size."""
    columns = megabytes * 1_000_000 // 4 // 1000
    weights = np.random.default_rng(seed).standard_normal((1000, columns), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "weights",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 1000])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


class Bench:
    """A folder with a key, a lock and a cache of downloads; `run` starts the packager in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.environment = {**os.environ, "PACKAGER_CACHE": str(self.cache), "NO_COLOR": "1"}
        # A user's Python keeps the byte code of what it has read once.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.run("keys", "generate", "-o", "site.pem")

    def run(self, *arguments: str | Path) -> float:
        """Seconds of one command."""
        command = [*PACKAGER, *map(str, arguments)]
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        taken = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
        return taken

    def build(self, source: Path, output: str, *more: str) -> float:
        shutil.rmtree(self.folder / output, ignore_errors=True)
        targets = more or ("-j", "de", *TARGET, "--license", "MIT", "--compression", "gzip")
        return self.run("build", source, *targets, "--key", "site.pem", "-o", output)

    def forget_layers(self) -> None:
        """Cold: what was downloaded stays, everything that was made of it goes."""
        for made in ("layers", "examined"):
            shutil.rmtree(self.cache / made, ignore_errors=True)


def unpacked(release: Path, into: Path) -> Sequence[Path]:
    """One folder with its files for each layer, as the peers are to have them."""
    (entry,) = json.loads((release / "images" / "manifest.json").read_text())
    manifest = json.loads((release / "images" / "index.json").read_text())["manifests"][0]
    digest = manifest["digest"].removeprefix("sha256:")
    types = {
        layer["digest"].removeprefix("sha256:"): layer["mediaType"]
        for layer in json.loads((release / "images/blobs/sha256" / digest).read_text())["layers"]
    }
    folders = []
    for number, name in enumerate(entry["Layers"]):
        folder = into / f"layer{number}"
        with (release / "images" / name).open("rb") as blob:
            size = (release / "images" / name).stat().st_size
            stream = plain(blob, types[Path(name).name], size)
            assert stream is not None
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                archive.extractall(folder, filter="tar")
        folders.append(folder)
    lines = ["FROM scratch", *(f"COPY {folder.name}/ /" for folder in folders)]
    (into / "Dockerfile").write_text("\n".join([*lines, "USER 65532:65532", ""]))
    return folders


def timed(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    start = time.perf_counter()
    done = subprocess.run(
        command, env=environment and {**os.environ, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return time.perf_counter() - start


def cold(bench: Bench, small: Path) -> dict[str, float]:
    """Build and push; the peers copy the same files into the same layers and push them."""
    bench.build(small, "first")
    files = bench.folder / "files"
    unpacked(bench.folder / "first", files)
    found: dict[str, float] = {}
    with docker_registry(bench.folder / "registry") as registry:
        bench.forget_layers()
        found["packager"] = bench.build(small, "cold") + bench.run(
            "push", "cold", f"{registry}/ours", "--key", "site.pub"
        )
        name = f"{registry}/docker/model:1"
        environment = {"DOCKER_BUILDKIT": "0"}
        try:
            found["docker build, docker push"] = timed(
                ["docker", "build", "-q", "--no-cache", "-t", name, str(files)], environment
            ) + timed(["docker", "push", "-q", name])
        finally:
            subprocess.run(["docker", "image", "rm", "-f", name], capture_output=True, check=False)
        with engine_room("buildah", shared=bench.folder, network="host") as room:
            name = f"{registry}/buildah/model:1"
            build = ("buildah", "build", "-q", "--layers", "--no-cache", "-t", name, str(files))
            push = ("buildah", "push", "-q", "--tls-verify=false", name)
            start = time.perf_counter()
            room.run(*build, timeout=600)
            room.run(*push, timeout=600)
            found["buildah build, push"] = time.perf_counter() - start
        found["skopeo copy of the layout"] = _skopeo(bench, registry)
        found["crane push of the layout"] = _crane(bench, registry)
        again = f"{registry}/again"
        found["packager push alone"] = bench.run("push", "cold", again, "--key", "site.pub")
    return found


def _skopeo(bench: Bench, registry: str) -> float:
    index = json.loads((bench.folder / "cold/images/index.json").read_text())
    name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    with engine_room("skopeo", shared=bench.folder, network="host") as room:
        start = time.perf_counter()
        room.run(
            "skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false",
            f"oci:{bench.folder}/cold/images:{name}", f"docker://{registry}/skopeo/model:1",
            timeout=600,
        )  # fmt: skip
        return time.perf_counter() - start


def _crane(bench: Bench, registry: str) -> float:
    """Of a layout with the one image: crane would push the signatures as images, too."""
    alone = bench.folder / "alone"
    shutil.copytree(bench.folder / "cold/images", alone, copy_function=os.link)
    index = json.loads((alone / "index.json").read_text())
    (alone / "index.json").unlink()
    (alone / "index.json").write_text(json.dumps(index | {"manifests": index["manifests"][:1]}))
    with engine_room("crane", shared=bench.folder, network="host") as room:
        start = time.perf_counter()
        room.run("crane", "push", str(alone), f"{registry}/crane/model:1", timeout=600)
        return time.perf_counter() - start


def warm(bench: Bench, small: Path) -> dict[str, float]:
    start = min(timed([sys.executable, "-c", "pass"]) for _ in range(3))
    bench.build(small, "warm")
    return {"python": start, "warm build": min(bench.build(small, "warm") for _ in range(3))}


def twelve(bench: Bench, small: Path) -> dict[str, float]:
    def request(countries: Sequence[str]) -> Path:
        targets = "".join(
            f"  - {{jurisdiction: {one}, hardware: x86-64-v3, platform: kubernetes,"
            " regions: [aws/eu-central-1]}\n"
            for one in countries
        )
        path = bench.folder / f"release{len(countries)}.yaml"
        path.write_text(
            "apiVersion: packager/v1\nkind: Release\nmetadata: {name: model, version: 1.0.0}\n"
            f"model: {{path: {small.name}, license: MIT}}\ntargets:\n{targets}"
        )
        return path

    found: dict[str, float] = {}
    for countries in (COUNTRIES[:1], COUNTRIES):
        bench.forget_layers()
        name = f"of{len(countries)}"
        found[f"{len(countries)} targets, s"] = bench.build(
            request(countries), name, "--lock", "packager.lock"
        )
        size = sum(
            file.stat().st_size for file in (bench.folder / name).rglob("*") if file.is_file()
        )
        found[f"{len(countries)} targets, MB"] = size / 1e6
    return found


def main() -> None:
    chosen = set(sys.argv[1:])
    parts: dict[str, Callable[[Bench, Path], dict[str, float]]] = {
        "cold": cold,
        "warm": warm,
        "twelve": twelve,
    }
    with tempfile.TemporaryDirectory(prefix="packager-building-", dir="/var/tmp") as folder:
        bench = Bench(Path(folder))
        small = model(Path(folder) / "model.onnx", 4)
        bench.run("lock", small, "-j", "de", *TARGET, "--license", "MIT")
        bench.build(small, "measured")  # what is measured once is read again from then on
        for name, part in parts.items():
            if not chosen or name in chosen:
                for what, figure in part(bench, small).items():
                    print(f"{name}: {what}: {figure:.2f}", flush=True)


if __name__ == "__main__":
    main()
