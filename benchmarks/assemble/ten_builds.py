"""Ten builds that differ in all that must not matter.

    python -m benchmarks.assemble.ten_builds [kubernetes] [compose]

A release of both architectures, with an index, is built ten times for engines that read zstd
(kubernetes) and for those that may not (compose): in other folders, as other users, with other
umasks, time zones, locales, hash seeds and numbers of processors, from sources that were written to
the disk in another order (the packager's own included), by this Python and by 3.13. Each build has
an empty store of layers, and takes the optimizer's answers from the first one. The whole folder
must come out the same, byte for byte; so the digests of every manifest and of the index do. Needs
root (other users are user namespaces), some minutes, and python3.13, or in $PACKAGER_OTHER_PYTHON
an interpreter that has the packager's libraries in the same versions.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.assemble.building import model
from packager.digest import Digest

_AT_ONCE = 4
ROOT = Path(__file__).resolve().parents[2]
RELEASE = """\
apiVersion: packager/v1
kind: Release
metadata: {name: same, version: 1.0.0}
model: {path: model.onnx, license: MIT}
targets:
  - {jurisdiction: de, hardware: x86-64-v3, platform: kubernetes, regions: [aws/eu-central-1]}
  - {jurisdiction: de, hardware: arm64-v8, platform: kubernetes, regions: [aws/eu-central-1]}
  - {jurisdiction: sg, hardware: arm64-v8, platform: PLATFORM, regions: [aws/ap-southeast-1]}
registry: {de: registry.example.de/ml, sg: registry.example.sg/ml}
"""


@dataclass(frozen=True)
class World:
    """What is around one build."""

    folder: str
    user: int
    umask: int
    environment: dict[str, str]
    processors: str
    other_python: bool


WORLDS = (
    World("a", 0, 0o022, {"TZ": "UTC", "PYTHONHASHSEED": "0", "LC_ALL": "C"}, "0-1", False),
    World("b/deep er", 1234, 0o077, {"TZ": "Asia/Riyadh", "PYTHONHASHSEED": "1"}, "0", False),
    World("ü", 0, 0o002, {"TZ": "America/Santiago", "LC_ALL": "C.UTF-8"}, "1", True),
    World("d", 65534, 0o027, {"PYTHONHASHSEED": "42", "LANG": "tr_TR.UTF-8"}, "0-1", True),
    World("e" * 200, 1000, 0o000, {"TZ": "Pacific/Kiritimati"}, "0", False),
    World("f", 0, 0o077, {"PYTHONHASHSEED": "7", "PYTHON_CPU_COUNT": "7"}, "0-1", True),
    World("g", 2, 0o022, {"TZ": "Asia/Kathmandu", "LC_ALL": "POSIX"}, "1", False),
    World("h", 0, 0o037, {"PYTHONHASHSEED": "99", "HOME": "/nonexistent"}, "0-1", False),
    World("i", 1234, 0o022, {"PYTHONOPTIMIZE": "1", "PYTHON_CPU_COUNT": "1"}, "0-1", True),
    World("j", 0, 0o022, {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8"}, "0", False),
)


def shuffled_copy(source: Path, into: Path, seed: int) -> None:
    """Every file of `source`, written in an order that `seed` gives."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    random.Random(seed).shuffle(files)
    for file in files:
        if "__pycache__" not in file.parts:
            target = into / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def other_python(folder: Path) -> Path:
    """Python 3.13 with the versions of all libraries that this one has."""
    if named := os.environ.get("PACKAGER_OTHER_PYTHON"):
        return Path(named)
    pinned = [f"{one.metadata['Name']}=={one.version}" for one in distributions()]
    (folder / "constraints").write_text("\n".join(pinned))
    interpreter = shutil.which("python3.13")
    if interpreter is None:
        raise SystemExit("python3.13 is not there; name another one in PACKAGER_OTHER_PYTHON")
    subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True)
    program = folder / "venv" / "bin" / "python"
    install = [program, "-m", "pip", "install", "-q", "-c", folder / "constraints", ROOT]
    subprocess.run(install, check=True)
    subprocess.run([program, "-m", "pip", "uninstall", "-qy", "packager"], check=True)
    return program


def run(
    number: int, world: World, base: Path, pythons: Sequence[Path], platform: str
) -> dict[str, Digest]:
    """Build in that world; path → digest of every file."""
    folder = base / world.folder
    code = folder / "code"
    for part in ("packager", "templates", "targets"):
        shuffled_copy(ROOT / part, code / part, number)
    shuffled_copy(base / "source", folder / "source", number)
    text = RELEASE.replace("PLATFORM", platform)
    (folder / "source" / "release.yaml").write_text(text)
    cache = folder / "cache"
    for kept in ("inputs", "optimized"):
        shuffled_copy(base / "cache" / kept, cache / kept, number)
    alone = ["unshare", "--net", "--user", f"--map-user={world.user}", f"--map-group={world.user}"]
    command = [
        *(*alone, "taskset", "-c", world.processors, pythons[world.other_python]),
        *("-m", "packager", "build", folder / "source" / "release.yaml"),
        *("--key", base / "site.pem", "-o", folder / "out"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(base),
        "PACKAGER_CACHE": str(cache),
        "PYTHONPATH": str(code),
        "PYTHONDONTWRITEBYTECODE": "1",
        **world.environment,
    }
    start = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=folder,
        umask=world.umask,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{world}: {done.stderr[-3000:]}")
    out = folder / "out"
    found = {
        path.relative_to(out).as_posix(): Digest.of_file(path)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    modes = {oct(path.stat().st_mode & 0o777) for path in out.rglob("*")}
    print(
        f"build {number}: {time.perf_counter() - start:.1f} s, {len(found)} files, modes "
        f"{sorted(modes)}, release {found['release.json']}",
        flush=True,
    )
    shutil.rmtree(cache)
    if number:
        shutil.rmtree(out)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="packager-same-", dir="/var/tmp") as name:
        base = Path(name)
        source = base / "source"
        source.mkdir()
        model(source / "model.onnx", 1)
        first = {**os.environ, "PACKAGER_CACHE": str(base / "cache")}
        if seeded := os.environ.get("PACKAGER_SEED_INPUTS"):  # downloads of an earlier run
            shuffled_copy(Path(seeded), base / "cache" / "inputs", 0)
        packager = [sys.executable, "-m", "packager"]
        subprocess.run([*packager, "keys", "generate", "-o", base / "site.pem"], check=True)
        (source / "release.yaml").write_text(RELEASE.replace("PLATFORM", "kubernetes"))
        made = [source / "release.yaml", "--key", base / "site.pem", "-o", base / "first", "-q"]
        subprocess.run([*packager, "build", *made], check=True, env=first)
        pythons = (Path(sys.executable), other_python(base))
        for platform in sys.argv[1:] or ("kubernetes", "compose"):
            prepare(base, platform)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                builds = pool.map(
                    lambda numbered: run(*numbered, base / platform, pythons, platform),  # noqa: B023
                    enumerate(WORLDS),
                )
                found = list(builds)
            report(found, base / platform / WORLDS[0].folder / "out", platform)


def prepare(base: Path, platform: str) -> None:
    """Links to what all builds of a platform share."""
    (base / platform).mkdir(exist_ok=True)
    for shared in ("source", "cache", "site.pem"):
        if not (base / platform / shared).exists():
            (base / platform / shared).symlink_to(base / shared)


def report(found: Sequence[dict[str, Digest]], out: Path, platform: str) -> None:
    """Prints what all agree on; exits with 1 when two builds differ, naming the files."""
    names = sorted({name for files in found for name in files})
    differing = [name for name in names if len({files.get(name) for files in found}) > 1]
    if differing:
        raise SystemExit(f"{platform}: these files differ: {', '.join(differing[:20])}")
    document = json.loads((out / "release.json").read_bytes())
    for target in document["targets"]:
        print(f"{platform}: {target['name']} {target['image']['digest']}")
    for index in document["indexes"]:
        print(f"{platform}: index {index['digest']}")
    print(f"{platform}: {len(found)} builds, {len(names)} files, all the same", flush=True)


if __name__ == "__main__":
    main()
