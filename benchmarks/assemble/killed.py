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
    caught = tries = 0
    while caught < count:
        if tries % 3 == 0:
            bench.forget_layers()
        shutil.rmtree(bench.folder / "out", ignore_errors=True)
        caught += killed(bench, arguments, draw.uniform(0.1, cold if tries % 3 == 0 else warm))
        tries += 1
    wrong = spoilt(bench.cache)
    bench.build(source, "out", *arguments[2:-4])
    same = (bench.folder / "out/release.json").read_bytes() == (
        bench.folder / "reference/release.json"
    ).read_bytes()
    bench.run("verify", "out", "--key", "site.pub")
    left = [path.name for path in bench.folder.glob(".packager-*")]
    left += [path.name for path in bench.cache.rglob("incoming-*")]
    print(
        f"build: {caught} killed while it ran, of {tries}; spoilt blobs {len(wrong)}; the next"
        f" build is {'the same' if same else 'ANOTHER ONE'} and verifies; left over {left}"
    )


def kill_pushes(bench: Bench, count: int) -> None:
    """Each into a repository of its own, since a second push of the same has little to do."""
    with docker_registry(bench.folder / "killed-registry") as registry:
        whole = bench.run("push", "out", f"{registry}/whole", "--key", "site.pub")
        draw = random.Random(2)
        caught = tries = missing = 0
        while caught < count:
            place = f"{registry}/r{tries}"
            arguments = ["push", "out", place, "--key", "site.pub"]
            tries += 1
            if killed(bench, arguments, draw.uniform(0.1, whole)):
                caught += 1
                bench.run(*arguments)
                missing += lacking(bench, place)
        print(
            f"push: {caught} killed while it ran, of {tries}; the next push of each works; blobs"
            f" that the registry lacks: {missing}"
        )


def lacking(bench: Bench, place: str) -> int:
    """How many of the release's blobs the repository below `place` does not give."""
    registry, _, folder = place.partition("/")
    return sum(
        all(
            requests.head(
                f"http://{registry}/v2/{folder}/model/{kind}/sha256:{blob.name}",
                headers={"Accept": ANY_MANIFEST}, timeout=10,
            ).status_code != 200
            for kind in ("blobs", "manifests")
        )
        for blob in (bench.folder / "out/images/blobs/sha256").iterdir()
    )  # fmt: skip


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
