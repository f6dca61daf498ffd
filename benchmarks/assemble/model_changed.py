"""A model changes beside 2 GB that do not: `python -m benchmarks.assemble.model_changed [MB]`.

The 2 GB are two layers of a base of the user's own, of noise; the model is one matrix product of
500 MB or as many as are named. Measured is the build alone: the optimizer's answer about the new
model is known, since what it takes to measure a model says nothing about images. Prints seconds and
the memory of the build's process against `sha256sum` of the model, and whether any blob of the
2 GB was copied. Needs 6 GB of disk, and minutes for the optimizer.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.assemble.building import PACKAGER, TARGET, Bench, model, timed
from packager.domain.artifact import MediaType

MEGABYTES = 500
ROUNDS = 5
_LAYERS, _FILES, _FILE = 2, 10, 100_000_000
OPTIONS = (
    "-j", "de", *TARGET, "--license", "MIT", "--precision", "fp32",
    "--base", "base", "--base-origin", "DE",
)  # fmt: skip
# A process counts as its own memory what the one had that started it, and this one made two
# models: so a small one starts the build, and asks about what it and its processes held.
WATCHED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def base(folder: Path) -> set[str]:
    """An OCI layout with two layers of 1 GB; the names of the layers' blobs."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = []
    for number in range(_LAYERS):
        with tarfile.open(folder / "layer", "w") as archive:
            for name in range(_FILES):
                member = tarfile.TarInfo(f"opt/data/{number}-{name}.bin")
                member.size = _FILE
                noise = np.random.default_rng((number, name)).bytes(_FILE)
                archive.addfile(member, io.BytesIO(noise))
        with (folder / "layer").open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        (folder / "layer").rename(blobs / digest)
        size = (blobs / digest).stat().st_size
        layers.append(
            {"mediaType": MediaType.LAYER_TAR, "digest": f"sha256:{digest}", "size": size}
        )

    def put(media_type: str, document: object) -> dict[str, object]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    diff_ids = [layer["digest"] for layer in layers]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MediaType.MANIFEST,
        "config": put(MediaType.CONFIG, config),
        "layers": layers,
    }
    index = {"schemaVersion": 2, "manifests": [put(MediaType.MANIFEST, manifest)]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return {str(digest).removeprefix("sha256:") for digest in diff_ids}


def prepared(bench: Bench) -> None:
    """The optimizer has answered about both models, and the first one is the one that was built."""
    source = bench.folder / "m.onnx"
    for name in ("first.onnx", "second.onnx", "first.onnx"):
        shutil.copyfile(bench.folder / name, source)
        bench.build(source, "out", *OPTIONS)


def changed(bench: Bench, unchanged: set[str]) -> dict[str, float]:
    """One build with the second model, whose layer is not in the store."""
    shutil.copyfile(bench.folder / "first.onnx", bench.folder / "m.onnx")
    bench.build(bench.folder / "m.onnx", "out", *OPTIONS)
    (image,) = json.loads((bench.folder / "out/images/manifest.json").read_text())
    kept = {Path(name).name for name in image["Layers"]}
    for blob in (bench.cache / "layers/blobs/sha256").iterdir():
        if blob.stat().st_size > 100e6 and blob.name not in kept:
            blob.unlink()
    shutil.rmtree(bench.folder / "out")
    source = bench.folder / "m.onnx"
    shutil.copyfile(bench.folder / "second.onnx", source)
    os.sync()
    hashing = timed(["sha256sum", str(source)])
    build = [*PACKAGER, "build", "m.onnx", *OPTIONS, "--key", "site.pem", "-o", "out", "-q"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *build], cwd=bench.folder, env=bench.environment,
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the build with the changed model ended with {done.returncode}")
    held = bench.cache / "bases/sha256"
    copies = [
        name
        for name in unchanged
        if not (bench.folder / "out/images/blobs/sha256" / name).samefile(held / name)
    ]
    return {
        "sha256sum of the model": hashing,
        "allowed": 1.3 * hashing + 1,
        "build": taken,
        "largest process, MB": int(done.stdout) / 1000,
        "unchanged blobs that were copied": len(copies),
    }


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory(prefix="packager-changed-", dir="/var/tmp") as folder:
        bench = Bench(Path(folder))
        unchanged = base(bench.folder / "base")
        for seed, name in enumerate(("first.onnx", "second.onnx")):
            model(bench.folder / name, megabytes, seed)
        prepared(bench)
        for _ in range(ROUNDS):
            found = changed(bench, unchanged)
            print(", ".join(f"{what} {figure:.2f}" for what, figure in found.items()), flush=True)


if __name__ == "__main__":
    main()
