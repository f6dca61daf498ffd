"""Pipelines for the engines of two forges, held to the schemas of those."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import yaml
from built_targets import release_request

from packager.cli.main import main
from packager.domain.release import TargetRequest
from packager.domain.target import TargetName
from packager.errors import InputError
from packager.render.ci import Provider, render_ci

NAMES = ("de/nvidia-l4/kubernetes", "sa/x86-64-v3/quadlet")
REQUEST = dataclasses.replace(
    release_request(),
    targets=tuple(TargetRequest(TargetName.parse(name), (), "release.yaml") for name in NAMES),
    registries={"de": "registry.example.de/ml", "sa": "registry.example.sa:5000"},
)


def rendered(provider, **changes):
    told = {"file": "release.yaml", "public_key": "site.pub", "runner": None} | changes
    return render_ci(told.pop("request", REQUEST), provider, **told)


@pytest.mark.parametrize("runner", [None, "frankfurt"])
@pytest.mark.parametrize("provider", Provider)
def test_the_providers_schema_takes_it(tmp_path, provider, runner):
    file = tmp_path / provider.place.rpartition("/")[2]
    file.write_bytes(rendered(provider, runner=runner))
    schema = "vendor.github-workflows" if provider is Provider.GITHUB else "vendor.gitlab-ci"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_github_runs_every_target_side_by_side_and_keeps_the_key_in_its_secrets():
    jobs = yaml.safe_load(rendered(Provider.GITHUB))["jobs"]
    assert jobs["target"]["strategy"]["matrix"]["target"] == list(NAMES)
    assert jobs["build"]["needs"] == "check"
    assert jobs["target"]["needs"] == "build"
    secrets = [step.get("env", {}) for step in jobs["build"]["steps"]]
    assert {"PACKAGER_SIGNING_KEY": "${{ secrets.PACKAGER_SIGNING_KEY }}"}.items() <= {
        key: value for step in secrets for key, value in step.items()
    }.items()
    runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert "packager check release.yaml" in runs
    assert any("packager push release" in run for run in runs)
    assert not any("||" in run or "continue-on-error" in run for run in runs)


def test_gitlab_runs_every_target_side_by_side():
    jobs = yaml.safe_load(rendered(Provider.GITLAB, runner="frankfurt"))
    assert jobs["target"]["parallel"]["matrix"] == [{"TARGET": list(NAMES)}]
    assert jobs["default"]["tags"] == ["frankfurt"]
    assert "packager check release.yaml" in jobs["check"]["script"]
    assert any("registry.example.sa:5000" in line for line in jobs["push"]["script"])


def test_nothing_is_installed_by_a_name_that_somebody_else_may_own():
    """Whatever pip installs there runs beside the signing key."""
    for provider in Provider:
        lines = [
            line for line in rendered(provider).decode().splitlines() if "pip install " in line
        ]
        assert lines
        assert all("--require-hashes -r packager-requirements.txt" in line for line in lines)
    assert b"pip install wheels/packager.whl" in rendered(
        Provider.GITLAB, install="wheels/packager.whl"
    )


def test_without_a_registry_nothing_is_pushed():
    request = dataclasses.replace(REQUEST, registries={})
    for provider in Provider:
        assert b"packager push" not in rendered(provider, request=request)


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "release.yaml; rm -rf /"},
        {"file": "$(x).yaml"},
        {"public_key": "a b.pub"},
        {"public_key": "../site.pub"},
        {"runner": "x\n  evil"},
        {"install": "packager; curl x"},
        {"install": "$(x)"},
        {"request": dataclasses.replace(REQUEST, registries={"de": "evil$(x)/ml"})},
    ],
)
def test_what_a_shell_could_take_for_more_is_refused(changes):
    for provider in Provider:
        with pytest.raises(InputError, match="line of a pipeline"):
            rendered(provider, **changes)


def test_the_command_prints_or_writes_and_overwrites_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "release.yaml").write_text(
        "apiVersion: packager/v1\nkind: Release\nmetadata: {name: a, version: 1.0.0}\n"
        "model: {path: model.onnx, license: MIT}\n"
        "targets:\n  - {jurisdiction: de, hardware: x86-64-v3, platform: helm,"
        " regions: [aws/eu-central-1]}\n"
    )
    assert main(["ci", "release.yaml", "--provider", "gitlab"]) == 0
    assert "de/x86-64-v3/helm" in capsys.readouterr().out
    assert main(["ci", "release.yaml", "--provider", "github", "-o", "ci.yml"]) == 0
    before = (tmp_path / "ci.yml").read_bytes()
    assert main(["ci", "release.yaml", "--provider", "github", "-o", "ci.yml"]) == 1
    assert (tmp_path / "ci.yml").read_bytes() == before
