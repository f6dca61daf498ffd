"""Sites that a release is not for, and machines that are not as it needs them.

Each function makes the site so and returns the release that is brought there; `KINDS` has one for
each row of `border_probes.FIT` and `TRUST`.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from unittest import mock

from built_targets import HARDWARE
from site_machine import StubSite
from site_releases import SiteTarget
from small_release import SmallRelease, change_root

from packager.attest.keys import generate_key


class Releases(Protocol):
    """Light releases of one maker, by version or name."""

    def __getitem__(self, version: str) -> SmallRelease: ...

    def other(self, name: str, version: str = "1.0.0", **more: object) -> SmallRelease: ...


@dataclass(frozen=True)
class Scene:
    """A site, who makes its releases, a folder of the test's own, and what is closed after it."""

    site: StubSite
    releases: Releases
    scratch: Path
    closing: ExitStack

    @property
    def good(self) -> SmallRelease:
        return self.releases["1.0.0"]

    def copied(self) -> SmallRelease:
        folder = self.scratch / "changed"
        shutil.copytree(self.good.folder, folder)
        return replace(self.good, folder=folder)

    def stranger(self) -> Path:
        """The public key of somebody else."""
        made = generate_key(self.scratch / "stranger.pem", None)
        return made.private.with_suffix(".pub")


Kind = Callable[[Scene], SmallRelease]
GPU = "NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: {cuda}"


def profile(**changes: str) -> Kind:
    """The site says something else of itself."""

    def make(scene: Scene) -> SmallRelease:
        scene.site.profile(**changes)
        return scene.good

    return make


def made_for(
    name: str, target: SiteTarget, tool: tuple[str, str] = ("uname", "echo x86_64")
) -> Kind:
    """The release is for another place or machine, at a machine of which a tool says what it is."""

    def make(scene: Scene) -> SmallRelease:
        scene.site.tool(*tool)
        return scene.releases.other(name, target=target)

    return make


def with_gpu(driver: str = "550.54.15", capability: str = "8.9", cuda: str = "12.4") -> Kind:
    """An accelerator that answers; the release is for NVIDIA's L4."""
    told = (
        f"[ $# = 0 ] && echo '{GPU.format(cuda=cuda)}' || echo '{driver}, {capability}, NVIDIA L4'"
    )
    return made_for("gpu", SiteTarget(hardware="nvidia-l4"), ("nvidia-smi", told))


def a_newer_one_was_here(scene: Scene) -> SmallRelease:
    assert scene.site.install(scene.releases["1.1.0"]).code == 0
    return scene.good


def a_twin_is_here(scene: Scene) -> SmallRelease:
    assert scene.site.install(scene.good).code == 0
    return scene.releases.other(
        "twin of 1.0.0", change=lambda folder, document: document.update(objective="size")
    )


def valid(begin: str, end: str) -> Kind:
    """The signed root names a window."""
    window = {"not_before": f"{begin}T00:00:00Z", "not_after": f"{end}T00:00:00Z"}

    def make(scene: Scene) -> SmallRelease:
        release = scene.copied()
        change_root(release, lambda document: document.update(validity=window))
        return release

    return make


def machine(memory_kib: int = 99_999_999, flags: str = "") -> Kind:
    """What /proc says."""

    def make(scene: Scene) -> SmallRelease:
        proc = scene.site.base / "proc"
        proc.mkdir()
        (proc / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {memory_kib} kB\n")
        ours = Path("/proc/cpuinfo").read_text()
        (proc / "cpuinfo").write_text(f"flags : {flags}\n" if flags else ours)
        scene.site.environment["PACKAGER_PROC"] = str(proc)
        return scene.good

    return make


def without_instructions(scene: Scene) -> SmallRelease:
    """The release counts on AVX2, as int8 models do."""
    name = "x86-64-v3"
    counting = replace(HARDWARE[name], instructions=frozenset({"avx2", "fma"}))
    with mock.patch.dict(HARDWARE, {name: counting}):
        release = scene.releases.other("avx2")
    machine(flags="sse2")(scene)
    return release


def tool(name: str, text: str) -> Kind:
    """A program of the machine says something else."""

    def make(scene: Scene) -> SmallRelease:
        scene.site.tool(name, text)
        return scene.good

    return make


def taken(scene: Scene) -> SmallRelease:
    other = scene.closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    scene.site.profile(listen=f"127.0.0.1:{other.getsockname()[1]}")
    return scene.good


def engine(file: str, content: str = "") -> Kind:
    """The engine of files, with one of its switches set."""

    def make(scene: Scene) -> SmallRelease:
        scene.site.stub.mkdir()
        (scene.site.stub / file).write_text(content)
        return scene.good

    return make


def old_engine(scene: Scene) -> SmallRelease:
    scene.site.environment["STUB_VERSION"] = "19.03.1"
    return scene.good


def trusts_another(scene: Scene) -> SmallRelease:
    scene.site.profile(keys=f"[{scene.stranger()}]")
    return scene.good


def revoked(scene: Scene, digest: str) -> SmallRelease:
    scene.site.profile(revoked=f"[{digest}]")
    return scene.good


def no_profile(scene: Scene) -> SmallRelease:
    scene.site.site_file.unlink()
    return scene.good


KINDS: dict[str, Kind] = {
    "another country": made_for(
        "german", SiteTarget("de", "Germany", "aws/eu-central-1"), ("uname", "echo x86_64")
    ),
    "an unknown site: a region that the target does not name": profile(region="site/elsewhere"),
    "a name that the site does not accept": profile(accept="[other]"),
    "another hardware profile": profile(hardware="nvidia-l4"),
    "another architecture": made_for("arm", SiteTarget(hardware="arm64-v8")),
    "a processor without the instructions": without_instructions,
    "no accelerator": made_for("gpu", SiteTarget(hardware="nvidia-l4"), ("nvidia-smi", "exit 9")),
    "an older driver": with_gpu(driver="470.1"),
    "an older CUDA": with_gpu(cuda="11.4"),
    "another compute capability": with_gpu(capability="7.5"),
    "an older release": a_newer_one_was_here,
    "the same version with other content": a_twin_is_here,
    "the validity is over": valid("2020-01-01", "2020-02-01"),
    "not valid yet": valid("2999-01-01", "2999-02-01"),
    "the clock is behind": tool(
        "date", 'case "$*" in *%s*) echo 86400 ;; *) echo 1970-01-02T00:00:00Z ;; esac'
    ),
    "too little memory": machine(memory_kib=1024),
    "too little space": tool("df", "echo Filesystem; echo '/dev/x 100 100 0 100% /'"),
    "the port is taken": taken,
    "the engine is down": engine("down"),
    "the engine is too old": old_engine,
    "the engine loads another image": engine("another-image", "f" * 64),
    "a key that the site does not trust": trusts_another,
    "the key of another maker": lambda scene: replace(scene.good, public_file=scene.stranger()),
    "the key is revoked here": lambda scene: revoked(scene, scene.good.public.fingerprint),
    "the release is revoked here": lambda scene: revoked(scene, _digest(scene.good)),
    "two signatures are demanded": profile(require="2"),
    "no profile": no_profile,
}


def _digest(release: SmallRelease) -> str:
    from packager.digest import Digest

    return str(Digest.of_file(release.folder / "release.json"))
