"""How fast `packager verify` is beside `sha256sum`, `openssl dgst` and `cosign` on the same bytes.

    python -m benchmarks.trust.verify_speed [MIB]           (default: 1024 MiB)
    python -m benchmarks.trust.verify_speed FOLDER KEY.pub  a release that is there already

Without a folder: one release of MIB of weights in a plain layer, and one each of as many bytes in a
gzip and in a zstd layer. All are pinned to one core, one after the other, over files that are in
the page cache. CPU seconds are compared, since other work on the machine does not change them much;
wall seconds are shown. cosign is told of for what it takes, and for what it leaves out: it hashes
no layer. `--contents` is what nobody but the maker asks for: layers are unpacked as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from peers import PEERS_ROOT
from small_release import SmallRelease, build_targets, make_release
from tiny_images import SETTINGS, content

from packager.archive import Entry
from packager.canonical import SourceDateEpoch
from packager.content import Compression, LayerContent
from packager.digest import Digest
from packager.domain.artifact import Platform
from packager.oci.image import write_image


@dataclass(frozen=True)
class Run:
    """CPU seconds, wall seconds, and the most memory that was in use, in MiB."""

    cpu: float
    wall: float
    memory: float


def run(command: Sequence[str | Path], *, every_core: bool = False) -> Run:
    """One process, on one core unless it may have all."""
    import time

    start = time.monotonic()
    child = os.fork()
    if child == 0:
        if not every_core:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.execvp(str(command[0]), [str(part) for part in command])
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    wall = time.monotonic() - start
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def big_release(
    base: Path, mebibytes: int, compression: Compression = Compression.NONE
) -> SmallRelease:
    """A release of one model of `mebibytes`, stored plain as weights are, or compressed as programs
    are; then half of each page is zeros."""
    base.mkdir(exist_ok=True)
    weights = base / "weights"
    with weights.open("wb") as stream:
        for _ in range(mebibytes):
            data = os.urandom(1 << 20)
            if compression is not Compression.NONE:
                data = b"".join(
                    data[at : at + 2048] + bytes(2048) for at in range(0, 1 << 20, 4096)
                )
            stream.write(data)
    digest = Digest.of_file(weights)

    def build(store, version="1.4.0", registry=None):
        request, built = build_targets(store, version, registry)
        model = LayerContent(
            "model",
            digest,
            compression,
            "packager: model",
            lambda: [Entry.of_file("opt/model.onnx", weights)],
        )
        layers = [store.write(content("system", {"probe": b"#!/bin/sh\n"})), store.write(model)]
        reference = built[0].image.reference
        platform = Platform("linux", "amd64")
        image = write_image(layers, SETTINGS, platform, reference, SourceDateEpoch(), store.blobs)
        return request, (replace(built[0], image=image),)

    made = make_release(base, build=build)
    weights.unlink()
    return made


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="packager-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def cosign(folder: Path, public: Path) -> Run | None:
    """cosign on the layout, in the tree of the peers; None where there is none."""
    if not (PEERS_ROOT / "usr/bin/cosign").exists() or os.geteuid() != 0:
        return None
    room = Path(tempfile.mkdtemp(prefix="packager-", dir=PEERS_ROOT / "tmp"))
    try:
        shutil.copytree(folder / "images", room / "images", copy_function=_link)
        shutil.copyfile(public, room / "site.pub")
        inside = f"/{room.relative_to(PEERS_ROOT)}"
        options = ["--key", f"{inside}/site.pub", "--insecure-ignore-tlog=true"]
        command = ["/usr/bin/cosign", "verify", *options, "--local-image", f"{inside}/images"]
        return run(["chroot", PEERS_ROOT, *command])
    finally:
        shutil.rmtree(room)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def measured(name: str, folder: Path, public: Path) -> None:
    """One line for each program over one release, and the ratios that the acceptance asks for."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    packager = [sys.executable, "-m", "packager"]
    verify = [*packager, "verify", folder, "--key", public, "-q"]
    run(["sha256sum", *files])  # the page cache
    run(verify)
    runs = {
        "packager --version": run([*packager, "--version"]),
        "sha256sum": run(["sha256sum", *files]),
        "openssl dgst": run(["openssl", "dgst", "-sha256", *files]),
        "packager verify": run(verify),
        "packager verify on all cores": run(verify, every_core=True),
        "packager verify --contents": run([*verify, "--contents"]),
    }
    if found := cosign(folder, public):
        runs["cosign verify (no layer is read)"] = found
    print(f"{name}: {size / (1 << 20):.0f} MiB")
    for title, one in runs.items():
        shown(title, one, size)
    ours = runs["packager verify"]
    for title in ("sha256sum", "openssl dgst"):
        asked = " (asked: at least 0.80)" if title == "sha256sum" else ""
        print(f"speed of {title}: × {runs[title].cpu / ours.cpu:.2f}{asked}")
    print(f"memory: {ours.memory:.0f} MiB (asked: at most 200)\n", flush=True)


def main(mebibytes: int = 1024) -> None:
    """Plain, gzip and zstd layers of `mebibytes`, one release after the other."""
    for compression in (Compression.NONE, Compression.GZIP, Compression.ZSTD):
        with scratch() as base:
            plain = mebibytes if compression is Compression.NONE else 2 * mebibytes
            release = big_release(base, plain, compression)
            measured(compression.value, release.folder, release.public_file)


def shown(name: str, measured: Run, size: int) -> None:
    """One line of the table."""
    rate = size / (1 << 20) / measured.cpu
    print(
        f"{name:34} {measured.cpu:6.2f} CPU s  {measured.wall:6.2f} s  {rate:7.0f} MiB/CPU s"
        f"  {measured.memory:5.0f} MiB"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case [folder, public]:
            measured(folder, Path(folder), Path(public))
        case sizes:
            main(*map(int, sizes))
