"""A model that only a key in the country opens, brought into service there on real engines.

podman is given the key by install.sh itself; Docker opens nothing, so `packager install` does, or
install.sh is given the plain image that somebody made who holds the key.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from real_site import real_site
from site_releases import site_release
from small_release import SmallRelease

from packager.attest.keys import generate_key

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stick(tmp_path_factory) -> SmallRelease:
    base = tmp_path_factory.mktemp("stick")
    inside = generate_key(base / "inside.pem", None)
    generate_key(base / "stranger.pem", None)
    return site_release(base / "1.0.0", "1.0.0", 1.0, recipients=[inside.public])


def folder_of(stick: SmallRelease) -> Path:
    return stick.folder.parent.parent


def holds(site) -> None:
    status = site.status()
    assert (status["serving"], status["ready"]) == ("1.0.0", True)


def test_podman_opens_it_with_the_key_and_nothing_without(stick, tmp_path):
    keys = folder_of(stick)
    with real_site("podman", "dash", tmp_path, keys) as site:
        refused = site.run("install", stick)
        assert refused.code == 3, refused.err
        assert "--decryption-key" in refused.err
        stranger = site.run("install", stick, "--decryption-key", keys / "stranger.pem")
        assert stranger.code == 4, stranger.err
        assert "does not open" in stranger.err
        assert site.containers() == {}
        done = site.run("install", stick, "--decryption-key", keys / "inside.pem")
        assert done.code == 0, done.err
        holds(site)


def test_docker_is_given_what_packager_opens(stick, tmp_path):
    keys = folder_of(stick)
    with real_site("docker", "python", tmp_path, keys) as site:
        refused = site.run("install", stick)
        assert refused.code == 3, refused.err
        assert "packager install --decryption-key" in refused.err.replace("\n", " ")
        given = [stick.folder, "--decryption-key"]
        stranger = site.run("install", stick, *given, keys / "stranger.pem")
        assert stranger.code == 4, stranger.err
        done = site.run("install", stick, *given, keys / "inside.pem")
        assert done.code == 0, done.err
        holds(site)
        assert list((tmp_path / "data").glob(".whole-*")) == []


def test_docker_and_a_plain_shell_take_the_image_that_was_made_plain(stick, tmp_path):
    keys = folder_of(stick)
    made = tmp_path / "made"
    made.mkdir()
    for name, release in (("plain", stick), ("other", _other(stick, tmp_path))):
        subprocess.run(
            [sys.executable, "-m", "packager", "decrypt", release.folder, "--key",
             release.public_file, "--decryption-key", keys / "inside.pem", "-o", made / name],
            check=True, capture_output=True,
        )  # fmt: skip
    with real_site("docker", "ash", tmp_path, keys) as site:
        with_key = site.run("install", stick, "--decryption-key", keys / "inside.pem")
        assert with_key.code == 3, with_key.err
        assert "docker opens no encrypted image" in with_key.err
        for folder in ("other", "nothing"):
            refused = site.run("install", stick, "--plain", made / folder)
            assert refused.code == 4, refused.err
        done = site.run("install", stick, "--plain", made / "plain")
        assert done.code == 0, done.err
        holds(site)


def _other(stick: SmallRelease, tmp_path: Path) -> SmallRelease:
    """Another release for the same keys, whose plain image must not be taken for this one's."""
    return site_release(
        tmp_path / "other",
        "2.0.0",
        2.0,
        key_file=stick.key_file,
        light=True,
        recipients=[folder_of(stick) / "inside.pub"],
    )
