"""`kubectl kustomize` builds every rendered Kubernetes target; it needs no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from built_targets import EVERY_HARDWARE, EVERY_JURISDICTION, sample_target
from peer_engines import EngineRoom, engine_room

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


pytestmark = pytest.mark.engine
FIRST = next(iter(EVERY_JURISDICTION))
CASES = [(FIRST, machine) for machine in EVERY_HARDWARE] + [
    (where, "x86-64-v3") for where in EVERY_JURISDICTION if where != FIRST
]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kustomize")


@pytest.fixture(scope="module")
def room(base) -> Iterator[EngineRoom]:
    with engine_room("kubectl", shared=base) as found:
        yield found


@pytest.mark.parametrize(("where", "machine"), CASES)
def test_kubectl_builds_the_base_and_every_overlay(room, base, where, machine):
    folder = base / f"{where}-{machine}"
    files = render_target(*sample_target(where, machine, DeploymentPlatform.KUBERNETES))
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    written = by_name(
        document
        for name, data in files.items()
        if name.startswith("base/") and not name.endswith("kustomization.yaml")
        for document in yaml.load_all(data, LOADER)
    )
    overlays = [name for name in ADDED if f"{name}/kustomization.yaml" in files or name == "."]
    scaled = EVERY_HARDWARE[machine].accelerator is None
    assert ("overlays/keda" in overlays) is scaled
    for overlay in overlays:
        built = room.run("kubectl", "kustomize", str(folder / overlay))
        got = by_name(yaml.load_all(built.stdout, LOADER))
        kept = {key: one for key, one in written.items() if key[0] not in TAKEN[overlay]}
        assert got.keys() == kept.keys() | ADDED[overlay]
        assert {key: got[key] for key in kept} == kept


def by_name(documents):
    return {
        (document["kind"], document["metadata"]["name"]): document
        for document in documents
        if document
    }
