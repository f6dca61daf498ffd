"""Rendered release pipelines, run to their end on a forge of one machine; 3 and 4 stop them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml
from commands import command
from engines import docker_registry
from forge import Forge

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("release")]

TARGETS = ("de/x86-64-v3/kubernetes", "sa/x86-64-v3/compose")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def repository(release, registry, tmp_path_factory) -> Path:
    """What a user has in git: release file, model, samples, lock, measurements, public key."""
    place = tmp_path_factory.mktemp("repository") / "filetype"
    shutil.copytree(release.source, place, ignore=shutil.ignore_patterns("out", "__pycache__"))
    shutil.copy2(release.public, place / "site.pub")
    document = yaml.safe_load((place / "release.yaml").read_text())
    document["targets"] = [
        target for target in document["targets"]
        if "/".join([target["jurisdiction"], target["hardware"], target["platform"]]) in TARGETS
    ]  # fmt: skip
    document["registry"] = {"de": f"{registry}/de", "sa": f"{registry}/sa"}
    (place / "release.yaml").write_text(yaml.safe_dump(document))
    return place


def forge(repository, release, folder: Path, between=None) -> Forge:
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    secrets = {
        "PACKAGER_SIGNING_KEY": release.key.read_text(),
        "REGISTRY_USER": "somebody",
        "REGISTRY_PASSWORD": "open sesame",
    }
    return Forge(repository, folder, secrets, {"XDG_CACHE_HOME": cache}, between)


def pipeline(repository: Path, provider: str) -> bytes:
    file = repository / f"{provider}.yml"
    if not file.exists():
        here = Path.cwd()
        os.chdir(repository)
        try:
            # It is installed here, so pip finds what it is told to install, and asks nobody.
            options = ("--install", "packager", "-o", file)
            command("ci", "release.yaml", "--provider", provider, *options)
        finally:
            os.chdir(here)
    return file.read_bytes()


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_a_pipeline_checks_builds_verifies_every_target_and_pushes(
    repository, release, registry, tmp_path, provider
):
    made = forge(repository, release, tmp_path)
    getattr(made, provider)(pipeline(repository, provider))
    names = ["check", "build", *(f"target {name}" for name in TARGETS), "push"]
    told = "\n".join(one.told for one in made.ran if one.status)
    assert made.statuses() == dict.fromkeys(names, 0), told
    assert f"{registry}/de/filetype@sha256:" in made.ran[-1].told
    for name in TARGETS:
        (bundle,) = tmp_path.glob(f"artifacts/*/{name.replace('/', '-')}.tar")
        command("verify", bundle, "--key", release.public)
    for one in made.ran:
        assert "PRIVATE KEY" not in one.told


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_what_a_jurisdiction_refuses_is_not_built(repository, release, tmp_path, provider):
    changed = tmp_path / "changed"
    text = pipeline(repository, provider)
    shutil.copytree(repository, changed)
    document = yaml.safe_load((changed / "release.yaml").read_text())
    document["targets"][0]["regions"] = ["aws/us-east-1"]
    (changed / "release.yaml").write_text(yaml.safe_dump(document))
    made = forge(changed, release, tmp_path)
    getattr(made, provider)(text)
    assert made.statuses() == {"check": 3}


@pytest.mark.parametrize("provider", ["github", "gitlab"])
def test_what_is_not_as_signed_is_not_pushed(repository, release, tmp_path, provider):
    """Somebody changes a manifest between the job that builds and those that verify."""

    def harm(job: str) -> None:
        if job.startswith("target"):
            (manifest,) = tmp_path.glob("artifacts/*/**/compose.yaml")
            manifest.write_text(manifest.read_text().replace("internal: true", "internal: false"))

    made = forge(repository, release, tmp_path, harm)
    getattr(made, provider)(pipeline(repository, provider))
    expected = {"check": 0, "build": 0} | {f"target {name}": 4 for name in TARGETS}
    assert made.statuses() == expected
