"""A hundred SIGKILLs at random moments of build and push: `python -m benchmarks.assemble.killed`.

After each, the next run has to work as if nothing had happened; after all of them the release is
the one of an undisturbed build to the last byte, every blob of the store is what its name says,
nothing is left beside the output, and the registry has every blob. Prints what was found.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

from benchmarks.assemble.building import PACKAGER, TARGET, Bench, docker_registry, model
from packager.domain.artifact import MediaType

KILLS = 100
ANY_MANIFEST = f"{MediaType.MANIFEST}, {MediaType.INDEX}, */*"  # a registry hides what is not named


def killed(bench: Bench, arguments: list[str], after: float) -> bool:
    """Start a command and kill it with all its children; whether it was still running."""
    process = subprocess.Popen(
        [*PACKAGER, *arguments], cwd=bench.folder, env=bench.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    time.sleep(after)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def spoilt(store: Path) -> list[str]:
    """Blobs whose bytes are not what their name says."""
    blobs = store / "layers" / "blobs" / "sha256"
    return [
        blob.name
        for blob in blobs.iterdir()
        if not blob.name.startswith("incoming-")
        and hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name
    ]


def kill_builds(bench: Bench, source: Path, count: int) -> None:
    arguments = ["build", str(source), "-j", "de", *TARGET, "--license", "MIT", "--key", "site.pem"]
    arguments += ["-o", "out"]
    bench.forget_layers()
    cold = bench.build(source, "reference", *arguments[2:-4])
    warm = bench.build(source, "reference", *arguments[2:-4])
    draw = random.Random(1)
    caught = 0
    for number in range(count):
        if number % 3 == 0:
            bench.forget_layers()
        shutil.rmtree(bench.folder / "out", ignore_errors=True)
        caught += killed(bench, arguments, draw.uniform(0.1, cold if number % 3 == 0 else warm))
    wrong = spoilt(bench.cache)
    bench.build(source, "out", *arguments[2:-4])
    same = (bench.folder / "out/release.json").read_bytes() == (
        bench.folder / "reference/release.json"
    ).read_bytes()
    bench.run("verify", "out", "--key", "site.pub")
    left = [path.name for path in bench.folder.glob(".packager-*")]
    left += [path.name for path in bench.cache.rglob("incoming-*")]
    print(
        f"build: {count} kills, {caught} while it ran; spoilt blobs {len(wrong)}; the next build"
        f" is {'the same' if same else 'ANOTHER ONE'} and verifies; left over {left}"
    )


def kill_pushes(bench: Bench, count: int) -> None:
    with docker_registry(bench.folder / "killed-registry") as registry:
        whole = bench.run("push", "out", f"{registry}/whole", "--key", "site.pub")
        draw = random.Random(2)
        caught = 0
        for number in range(count):
            arguments = ["push", "out", f"{registry}/r{number % 5}", "--key", "site.pub"]
            caught += killed(bench, arguments, draw.uniform(0.1, whole))
        missing = 0
        for number in range(5):
            bench.run("push", "out", f"{registry}/r{number}", "--key", "site.pub")
            names = [
                one for one in requests.get(f"http://{registry}/v2/_catalog", timeout=10).json()[
                    "repositories"
                ] if one.startswith(f"r{number}/")
            ]  # fmt: skip
            for blob in (bench.folder / "out/images/blobs/sha256").iterdir():
                found = [
                    requests.head(f"http://{registry}/v2/{name}/{kind}/sha256:{blob.name}",
                                  headers={"Accept": ANY_MANIFEST}, timeout=10).status_code
                    for name in names for kind in ("blobs", "manifests")
                ]  # fmt: skip
                missing += 200 not in found
        print(
            f"push: {count} kills, {caught} while it ran; the next push of each works; blobs that"
            f" the registry lacks: {missing}"
        )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    with tempfile.TemporaryDirectory(prefix="packager-killed-", dir="/var/tmp") as folder:
        bench = Bench(Path(folder))
        source = model(Path(folder) / "model.onnx", 4)
        bench.run("lock", source, "-j", "de", *TARGET, "--license", "MIT")
        bench.build(source, "measured")
        kill_builds(bench, source, count // 2)
        kill_pushes(bench, count - count // 2)


if __name__ == "__main__":
    main()
