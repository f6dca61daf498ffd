"""Whatever byte of a stick changes, the installer refuses it, or installs what was signed.

By shell, from a folder and from a bundle: a bundle has bytes that nobody uses (padding, times, the
lists for engines), so a change there may pass; what was unpacked is compared file by file then.
Some changes by default, every file and 200 bytes with PACKAGER_LONG=1.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

from bundles import make_bundle

LONG = os.environ.get("PACKAGER_LONG") == "1"
# `release.sig` is what the shell checks; the same signature for sigstore's tools is left to them.
UNUSED = {"release.sigstore.json"}


def changed(data: bytes, draw: random.Random) -> bytes:
    found = bytearray(data)
    found[draw.randrange(len(found))] ^= draw.randrange(1, 256)
    return bytes(found)


def test_a_folder_with_one_changed_byte_is_refused(dash, releases, tmp_path):
    draw = random.Random(9)
    folder = tmp_path / "stick"
    shutil.copytree(releases["1.0.0"].folder, folder)
    release = replace(releases["1.0.0"], folder=folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in UNUSED)
    for path in files if LONG else draw.sample(files, 6):
        if path.name == "install.sh":
            continue  # the program itself: checked by hand before it runs (docs/site.md, step 3)
        data = path.read_bytes()
        path.write_bytes(changed(data, draw))
        done = dash.install(release)
        path.write_bytes(data)
        assert done.code == 4, (path, done.err)
        assert not list((dash.stub / "images").glob("*"))
    assert dash.install(release).code == 0


def test_a_bundle_with_one_changed_byte_is_refused_or_gives_what_was_signed(
    dash, releases, tmp_path
):
    draw = random.Random(10)
    bundle = tmp_path / "release.tar"
    make_bundle(releases["1.0.0"], bundle)
    good = bundle.read_bytes()
    refused = 0
    for _ in range(200 if LONG else 6):
        bundle.write_bytes(changed(good, draw))
        done = dash.install(releases["1.0.0"], bundle)
        if done.code == 0:
            (stock,) = dash.home.glob("slots/*/release")
            assert files(stock) == files(releases["1.0.0"].folder)
            assert dash.run(None, "uninstall").code == 0
        else:
            assert done.code in (2, 4), done.err
            assert not list((dash.stub / "images").glob("*"))
            refused += 1
    assert refused


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in UNUSED)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
