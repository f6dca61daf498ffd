"""A delta is applied by a shell alone: dash with GNU tools, busybox ash with busybox's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from bundles import entries, make_bundle, trusting
from engines import missing
from small_release import build_targets, make_release
from weights import fine_tuned, initializers

from packager import pipeline
from packager.domain.target import TargetName
from packager.progress import SILENT

pytestmark = pytest.mark.engine

SCRIPT = Path(__file__).parents[2] / "docs" / "apply-delta.sh"
SA = "sa/x86-64-v3/compose"
OF_BUNDLES = {"bundle.json", "oci-layout", "index.json", "manifest.json"}


@dataclass(frozen=True)
class Case:
    """A bundle, the next one, and the delta between them."""

    old: Path
    new: Path
    delta: Path


@pytest.fixture(scope="module", params=["all targets", "one target"])
def case(request, tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    first = initializers(3 << 20)
    second, _ = fine_tuned(first, 0.1)
    releases, key = [], None
    for number, tensors in enumerate((first, second)):
        base = folder / str(number)
        base.mkdir()
        build = partial(build_targets, weights=b"".join(tensors))
        made = make_release(base, version=f"1.{number}.0", key_file=key, build=build)
        key = made.key_file
        releases.append(made)
    targets = [SA] if request.param == "one target" else []
    found = Case(folder / "old.tar", folder / "new.tar", folder / "delta.tar")
    make_bundle(releases[0], found.old, *targets)
    make_bundle(releases[1], found.new, *targets)
    chosen = [TargetName.parse(target) for target in targets]
    trust = trusting(releases[1])
    pipeline.bundle(releases[1].folder, trust, found.delta, chosen, SILENT, delta_from=found.old)
    return found


@pytest.fixture(scope="module", params=["dash", "busybox"])
def shell(request, tmp_path_factory) -> tuple[list[str], str]:
    """The shell's command, and the PATH of its tools."""
    program = shutil.which(request.param)
    if not program:
        missing(f"{request.param} is not installed")
        raise AssertionError("missing() skips or fails")
    if request.param == "dash":
        return [program], os.environ["PATH"]
    applets = tmp_path_factory.mktemp("applets")
    subprocess.run([program, "--install", "-s", applets], check=True, capture_output=True)
    return [program, "ash"], str(applets)


def run(shell, *words: object) -> subprocess.CompletedProcess[str]:
    command, path = shell
    return subprocess.run(
        [*command, str(SCRIPT), *map(str, words)],
        env={"PATH": path, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )


def files(bundle: Path) -> dict[str, bytes]:
    return {info.name: data for info, data in entries(bundle) if info.name not in OF_BUNDLES}


def test_the_files_of_the_new_bundle_come_out(case, shell, tmp_path):
    done = run(shell, case.old, case.delta, tmp_path / "made.tar")
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "made.tar") == files(case.new)
    assert {info.type for info, _ in entries(tmp_path / "made.tar")} == {b"0"}
    assert list(tmp_path.iterdir()) == [tmp_path / "made.tar"]


def test_another_base_is_refused_by_name(case, shell, tmp_path):
    done = run(shell, case.new, case.delta, tmp_path / "made.tar")
    assert done.returncode == 4
    assert "made from another release" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_damaged_base_and_a_damaged_delta_are_told_apart(case, shell, tmp_path):
    recipe = next(name for name in files(case.delta) if name.endswith(".recipe"))
    base, offset, _ = files(case.delta)[recipe].decode().split("copy ")[1].split()[:3]
    for name, victim, inside, at in (
        ("old", case.old, f"blobs/sha256/{base}", int(offset) + 9),
        ("delta", case.delta, recipe.replace(".recipe", ".data"), 9),
    ):
        harmed = tmp_path / f"{name}.tar"
        data = bytearray(victim.read_bytes())
        content = files(victim)[inside]
        data[data.index(content[:4096]) + at] ^= 1
        harmed.write_bytes(data)
        old, delta = (harmed, case.delta) if name == "old" else (case.old, harmed)
        done = run(shell, old, delta, tmp_path / "made.tar")
        assert done.returncode == 4, done.stderr
        assert f"{harmed} is damaged" in done.stderr
        assert not (tmp_path / "made.tar").exists()
        harmed.unlink()


def test_nothing_is_overwritten(case, shell, tmp_path):
    (tmp_path / "made.tar").write_text("mine")
    assert run(shell, case.old, case.delta, tmp_path / "made.tar").returncode == 1
    assert (tmp_path / "made.tar").read_text() == "mine"
