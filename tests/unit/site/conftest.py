"""Light releases, made once, and a site with an engine of files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from site_machine import ASH, DASH, StubSite
from site_releases import site_release
from small_release import SmallRelease


class Releases:
    """Releases of one maker by version, made when they are first asked for."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._made: dict[str, SmallRelease] = {}
        self.key_file = self["1.0.0"].key_file

    def __getitem__(self, version: str) -> SmallRelease:
        if version not in self._made:
            key = self._made["1.0.0"].key_file if self._made else None
            self._made[version] = self.make(version, key)
        return self._made[version]

    def make(self, version: str, key: Path | None, name: str = "", **more) -> SmallRelease:
        base = self._base / (name or version)
        return site_release(base, version, 1.0, key_file=key, light=True, **more)

    def other(self, name: str, version: str = "1.0.0", **more) -> SmallRelease:
        """One that is different in some way, by the same maker."""
        if name not in self._made:
            self._made[name] = self.make(version, self.key_file, name, **more)
        return self._made[name]


@pytest.fixture(scope="session")
def releases(tmp_path_factory) -> Releases:
    return Releases(tmp_path_factory.mktemp("site-releases"))


@pytest.fixture(params=[DASH, ASH], ids=["dash", "ash"])
def site(request, tmp_path) -> StubSite:
    return _site(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path) -> StubSite:
    return _site(tmp_path, DASH)


def _site(base: Path, shell: tuple[str, ...]) -> StubSite:
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    return StubSite(base / "site", shell)
