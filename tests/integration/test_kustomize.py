"""`kubectl kustomize` builds every rendered Kubernetes target; it needs no cluster."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from built_targets import HARDWARE, JURISDICTIONS, sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("where", JURISDICTIONS)
def test_kubectl_builds_the_folder_as_it_was_rendered(tmp_path, where, machine):
    files = render_target(*sample_target(where, machine, DeploymentPlatform.KUBERNETES))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    built = subprocess.run(
        ["kubectl", "kustomize", tmp_path], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr

    def by_kind(documents):
        return {document["kind"]: document for document in documents if document}

    written = by_kind(
        yaml.safe_load(data)
        for name, data in files.items()
        if name.endswith(".yaml") and name != "kustomization.yaml"
    )
    assert by_kind(yaml.safe_load_all(built.stdout)) == written
