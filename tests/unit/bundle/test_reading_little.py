"""Who looks at a bundle reads its front: less than 1 MB, however big it is (docs/bundle.md)."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest
from bundles import make_bundle
from small_release import build_targets, make_release

from packager.bundle import volume
from packager.cli.main import main

WEIGHTS = 24 << 20
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("big")
    build = partial(build_targets, weights=bytes(WEIGHTS))
    make_bundle(make_release(folder, build=build), folder / "big.tar")
    return folder / "big.tar"


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """The number of bytes of each read of a bundle."""
    reads: list[int] = []
    preadv = os.preadv

    def counting(*arguments):
        got = preadv(*arguments)
        reads.append(got)
        return got

    monkeypatch.setattr(volume.os, "preadv", counting)
    return reads


@pytest.mark.parametrize(
    "command", [["inspect"], ["digest"], ["delta", "explain"]], ids=lambda words: words[-1]
)
def test_less_than_a_megabyte_is_read(bundle, counted, capsys, command):
    assert bundle.stat().st_size > WEIGHTS
    assert main([*command, str(bundle), "-q"]) == 0
    assert capsys.readouterr().out
    assert 0 < sum(counted) < MEGABYTE


def test_what_is_read_is_what_it_says(bundle, counted, capsys):
    """The same answer as from the folder, of which everything is there."""
    told = []
    for path in (bundle, bundle.parent / "release"):
        assert main(["inspect", str(path), "--json", "-q"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
