"""The same job from the same downloads: `python -m benchmarks.assemble.from_downloads [RUNS]`.

`building` gives docker and buildah their files unpacked. Here everybody begins with what was
downloaded: the locked Debian packages and wheels, the runtime, the model. docker (its classic
builder: BuildKit needs a plug-in that Debian 12 does not have) and buildah do what a good
Dockerfile does with them: a stage with dpkg-deb and unzip unpacks and drops what our image drops
too, a stage from scratch takes the outcome; then each pushes into a local registry. The image of
their first stage, debootstrap's smallest Debian with unzip, is there beforehand and not counted.
What we do besides is: checks of every digest, SBOMs, provenance, signatures, manifests.

Needs root, Docker, debootstrap, docker-registry, the tree of tests/peers/install.sh, and minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.assemble.building import (
    Bench,
    docker_registry,
    engine_room,
    model,
    timed,
    unpacked,
)
from packager.assemble.fetch import cached_path
from packager.assemble.mirror import find_mirror
from packager.assemble.recipe import SITE_PACKAGES
from packager.digest import Digest

STAGE = "localhost/packager-benchmark-stage"
LABEL = "dev.packager.benchmark=stage"
DOCKERFILE = f"""FROM {{stage}} AS stage
LABEL {LABEL}
COPY debs /in/debs
COPY wheels /in/wheels
COPY keep /in/keep
RUN set -e; export LC_ALL=C; mkdir -p /out/{SITE_PACKAGES}; \\
    for deb in /in/debs/*; do dpkg-deb -x "$deb" /out; done; \\
    for wheel in /in/wheels/*; do unzip -q -d /out/{SITE_PACKAGES} "$wheel"; done; cd /out; \\
    find . -type f -o -type l | sort >/in/all; comm -23 /in/all /in/keep | xargs -d '\\n' rm -f
FROM scratch
COPY --from=stage /out /
COPY runtime/ /
COPY model/ /
COPY configuration/ /
USER 65532:65532
"""


def downloads(bench: Bench, into: Path) -> None:
    """The context of the Dockerfile: packages, wheels, what is kept of them, and our own layers."""
    environment = json.loads((bench.folder / "packager.lock").read_text())["environments"][0]
    for kind, folder in (("packages", "debs"), ("wheels", "wheels")):
        (into / folder).mkdir(parents=True)
        for entry in environment[kind]:
            held = cached_path(bench.cache, Digest.parse(entry["digest"]))
            shutil.copyfile(held, into / folder / Path(entry["filename"]).name)
    layers = unpacked(bench.folder / "first", into / "layers")
    for name, layer in zip(("runtime", "model", "configuration"), layers[-3:], strict=True):
        layer.rename(into / name)
    kept = {
        f"./{found.relative_to(layer)}"
        for layer in layers[:-3]
        for found in layer.rglob("*")
        if found.is_symlink() or found.is_file()
    }
    (into / "keep").write_text("".join(f"{name}\n" for name in sorted(kept, key=os.fsencode)))
    shutil.rmtree(into / "layers")


@contextlib.contextmanager
def stage_archive(folder: Path) -> Iterator[Path]:
    """debootstrap's smallest Debian with unzip, as a tar; in Docker while this lasts."""
    tree = folder / "stage"
    mirror = find_mirror(None).base
    timed(["debootstrap", "--variant=minbase", "--include=unzip", "trixie", str(tree), mirror])
    timed(["tar", "-C", str(tree), "-cf", str(folder / "stage.tar"), "."])
    shutil.rmtree(tree)
    timed(["docker", "import", str(folder / "stage.tar"), STAGE])
    try:
        yield folder / "stage.tar"
    finally:
        subprocess.run(["docker", "image", "rm", "-f", STAGE], capture_output=True, check=False)


def docker(context: Path, name: str) -> float:
    build = ["docker", "build", "-q", "--no-cache", "-t", name, str(context)]
    try:
        return timed(build, {"DOCKER_BUILDKIT": "0"}) + timed(["docker", "push", "-q", name])
    finally:
        subprocess.run(["docker", "image", "rm", "-f", name], capture_output=True, check=False)
        # The first stage, which has no name.
        left = ["docker", "image", "prune", "-f", "--filter", f"label={LABEL}"]
        subprocess.run(left, capture_output=True, check=False)


def one_round(bench: Bench, small: Path, context: Path, stage: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    with docker_registry(bench.folder / "registry") as registry:
        bench.forget_layers()
        found["packager"] = bench.build(small, "cold") + bench.run(
            "push", "cold", f"{registry}/ours", "--key", "site.pub"
        )
        found["docker"] = docker(context, f"{registry}/docker/model:1")
        with engine_room("buildah", shared=bench.folder, network="host") as room:
            room.run("podman", "import", "-q", str(stage), STAGE, timeout=300)
            name = f"{registry}/buildah/model:1"
            start = time.perf_counter()
            # As in a pipeline that may not raise limits.
            limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
            build = ("buildah", "build", "-q", "--no-cache", *limits, "-t", name)
            room.run(*build, str(context), timeout=600)
            room.run("buildah", "push", "-q", "--tls-verify=false", name, timeout=600)
            found["buildah"] = time.perf_counter() - start
    shutil.rmtree(bench.folder / "registry", ignore_errors=True)
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(prefix="packager-downloads-", dir="/var/tmp") as folder:
        bench = Bench(Path(folder))
        small = model(bench.folder / "model.onnx", 4)
        bench.build(small, "first")
        context = bench.folder / "context"
        downloads(bench, context)
        (context / "Dockerfile").write_text(DOCKERFILE.format(stage=STAGE))
        with stage_archive(bench.folder) as stage:
            found = [one_round(bench, small, context, stage) for _ in range(rounds)]
    ours = statistics.median(one["packager"] for one in found)
    for title in found[0]:
        seconds = [one[title] for one in found]
        median = statistics.median(seconds)
        shown = ", ".join(f"{one:.2f}" for one in seconds)
        print(f"{title}: {shown} s; packager takes {ours / median:.2f} of its median", flush=True)


if __name__ == "__main__":
    main()
