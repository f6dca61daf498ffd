"""release.json as values."""

import json

import pytest

from packager.domain.artifact import Platform
from packager.domain.target import TargetName
from packager.errors import InputError, VerificationError
from packager.release_folder import ReleaseFolder
from packager.release_source import FolderSource

HEX = "sha256:" + "ab" * 32


def target(name: str, architecture: str, registry: str | None) -> dict:
    return {
        "name": name,
        "registry": registry,
        "manifests": f"targets/{name}",
        "image": {
            "reference": f"{registry or 'localhost'}/app:1.0-{name.replace('/', '-')}",
            "digest": HEX,
            "config": HEX,
            "platform": {"os": "linux", "architecture": architecture},
        },
    }


@pytest.fixture
def folder(tmp_path):
    document = {
        "metadata": {"name": "app", "version": "1.0"},
        "model": {"name": "app"},
        "data": {"class": "personal"},
        "targets": [
            target("sg/arm64-v8/kubernetes", "arm64", "registry.example.sg/ml"),
            target("de/x86-64-v3/compose", "amd64", None),
        ],
    }
    (tmp_path / "release.json").write_text(json.dumps(document))
    return tmp_path


def test_the_target_for_this_machine_comes_first(folder):
    release = ReleaseFolder.read(FolderSource(folder))
    chosen = release.target(None, Platform("linux", "amd64"))
    assert str(chosen.name) == "de/x86-64-v3/compose"
    assert release.target(None, Platform("linux", "riscv64")) == release.targets[0]
    assert release.target(TargetName.parse("sg/arm64-v8/kubernetes")) == release.targets[0]


def test_an_unknown_target_is_met_with_those_that_are_there(folder):
    with pytest.raises(InputError) as caught:
        ReleaseFolder.read(FolderSource(folder)).target(TargetName.parse("fr/x86-64-v3/compose"))
    assert "de/x86-64-v3/compose" in str(caught.value.findings[0].expected)


def test_where_images_are_pushed(folder):
    release = ReleaseFolder.read(FolderSource(folder))
    with pytest.raises(InputError, match="names no registry for de/x86-64-v3/compose"):
        release.repositories(None)
    assert set(release.repositories("127.0.0.1:5000/in").values()) == {
        "127.0.0.1:5000/in/app:1.0-sg-arm64-v8-kubernetes",
        "127.0.0.1:5000/in/app:1.0-de-x86-64-v3-compose",
    }
    assert release.targets[0].pinned == f"registry.example.sg/ml/app@{HEX}"


@pytest.mark.parametrize(
    "data", [None, b"", b"[]", b"{}", b'{"metadata": 1}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_release_is_refused(tmp_path, data):
    if data is not None:
        (tmp_path / "release.json").write_bytes(data)
    with pytest.raises(VerificationError, match="no release"):
        ReleaseFolder.read(FolderSource(tmp_path))
