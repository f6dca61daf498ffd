"""Whatever byte of a release changes, it is refused, with exit 4 and without a traceback.

200 changes in a folder and 2,000 in a source in memory, which asks the same steps; the seed is
fixed, so that a failure can be repeated; PACKAGER_TAMPER_FLIPS and PACKAGER_TAMPER_SEED change it.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_source import MemorySource
from small_release import SmallRelease, make_release

from packager.attest import root
from packager.attest.verifying import verify
from packager.errors import VerificationError

FLIPS = int(os.environ.get("PACKAGER_TAMPER_FLIPS", "2000"))
IN_A_FOLDER = 200
SEED = int(os.environ.get("PACKAGER_TAMPER_SEED", "1"))


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    """A copy without hard links into the store, which a test can write into."""
    made = make_release(tmp_path_factory.mktemp("tamper"))
    folder = made.folder.with_name("copy")
    shutil.copytree(made.folder, folder)
    return replace(made, folder=folder)


@pytest.fixture(scope="module")
def files(release) -> list[Path]:
    return sorted(path for path in release.folder.rglob("*") if path.is_file())


def refused(release: SmallRelease) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        verify(release.folder, release.public)
    return caught.value


def test_every_changed_byte_is_refused(release, files):
    """Every file is hit at least once; then random ones, weighted by nothing."""
    chance = random.Random(SEED)
    chosen = files + [chance.choice(files) for _ in range(max(0, IN_A_FOLDER - len(files)))]
    for path in chosen:
        data = path.read_bytes()
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        path.write_bytes(changed)
        try:
            error = refused(release)
        finally:
            path.write_bytes(data)
        assert error.exit_code == 4
    assert verify(release.folder, release.public)


def test_two_thousand_changed_bytes_are_two_thousand_refusals(release):
    """Weighted by size: each byte of the release is as likely as each other."""
    chance = random.Random(SEED)
    entries = dict(MemorySource.of_folder(release.folder).entries)
    names = sorted(entries)
    sizes = [len(entries[name]) for name in names]
    refusals = 0
    for name in chance.choices(names, sizes, k=FLIPS):
        changed = bytearray(entries[name])
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
        source = MemorySource(tuple((entries | {name: bytes(changed)}).items()))
        with pytest.raises(VerificationError) as caught:
            verify(source, release.public)
        refusals += caught.value.exit_code == 4
    assert refusals == FLIPS
    assert verify(MemorySource(tuple(entries.items())), release.public)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([root.ROOT, root.BUNDLE, root.RAW_SIGNATURE, root.CHECKSUMS]),
    data=st.one_of(
        st.binary(max_size=200),
        st.text('[]{}":,0eE-\\u \n', max_size=200).map(str.encode),
        st.integers(1, 20_000).map(lambda depth: b"[" * depth),
        st.integers(1, 20_000).map(lambda depth: b'{"a":' * depth),
        st.integers(1, 20_000).map(lambda length: b"9" * length),
    ),
)
def test_any_bytes_in_place_of_the_seal_are_refused(release, name, data):
    path = release.folder / name
    kept = path.read_bytes()
    path.write_bytes(data)
    try:
        refused(release)
    finally:
        path.write_bytes(kept)
