"""`kubectl kustomize` builds every rendered Kubernetes target; it needs no cluster."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from built_targets import HARDWARE, JURISDICTIONS, sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

ADDED = {
    ".": set(),
    "overlays/keda": {("ScaledObject", "filetype")},
    "overlays/monitoring": {
        ("ServiceMonitor", "filetype"),
        ("NetworkPolicy", "filetype-monitoring"),
    },
    "overlays/kserve": {("InferenceService", "filetype"), ("ServingRuntime", "filetype")},
}
TAKEN = {
    ".": set(),
    "overlays/keda": {"HorizontalPodAutoscaler"},
    "overlays/monitoring": set(),
    "overlays/kserve": {
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler",
    },
}  # fmt: skip


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("where", JURISDICTIONS)
def test_kubectl_builds_the_base_and_every_overlay(tmp_path, where, machine):
    files = render_target(*sample_target(where, machine, DeploymentPlatform.KUBERNETES))
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    written = by_name(
        document
        for name, data in files.items()
        if name.startswith("base/") and not name.endswith("kustomization.yaml")
        for document in yaml.safe_load_all(data)
    )
    folders = [
        folder for folder in ADDED if f"{folder}/kustomization.yaml" in files or folder == "."
    ]
    assert ("overlays/keda" in folders) is (machine != "nvidia-l4")
    for folder in folders:
        built = subprocess.run(
            ["kubectl", "kustomize", tmp_path / folder], capture_output=True, text=True, check=False
        )
        assert built.returncode == 0, built.stderr
        got = by_name(yaml.safe_load_all(built.stdout))
        kept = {key: one for key, one in written.items() if key[0] not in TAKEN[folder]}
        assert got.keys() == kept.keys() | ADDED[folder]
        assert {key: got[key] for key in kept} == kept


def by_name(documents):
    return {
        (document["kind"], document["metadata"]["name"]): document
        for document in documents
        if document
    }
