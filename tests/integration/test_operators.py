"""Documents for operators, held to types and models that are made from those operators' own."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from built_targets import EVERY_HARDWARE, EVERY_JURISDICTION, PUBLIC_KEY, sample_target
from engines import missing
from helm import helm

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

PEERS = Path(__file__).parents[1] / "peers"
NPM = Path(os.environ.get("PACKAGER_NPM_ROOT", "/var/lib/packager-npm"))
CASES = [(where, "x86-64-v3") for where in EVERY_JURISDICTION] + [
    ("de", machine) for machine in EVERY_HARDWARE if machine != "x86-64-v3"
]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BY_TYPES = {"OCIRepository", "Kustomization", "Application", "ScaledObject", "ServiceMonitor"}
BY_MODELS = {"InferenceService", "ServingRuntime", "ClusterPolicy"}
Document = dict[str, Any]


def written(kinds: set[str]) -> list[Document]:
    """Every document of those kinds, of targets that differ by country and by machine."""
    found = [
        document
        for where, machine in CASES
        for name, data in render_target(
            *sample_target(where, machine, DeploymentPlatform.KUBERNETES), public_key=PUBLIC_KEY
        ).items()
        if name.startswith(("gitops/", "overlays/", "policy/")) and name.endswith(".yaml")
        for document in yaml.load_all(data, LOADER)
        if document and document.get("kind") in kinds
        if not document["apiVersion"].startswith("kustomize.config")
    ]
    assert {document["kind"] for document in found} == kinds
    return found


def by_types(documents: list[Document]) -> list[list[str]]:
    if not shutil.which("node") or not (NPM / "node_modules/typescript").is_dir():
        missing(f"the types are not in {NPM}: run tests/peers/install-npm.sh")
    return asked(["node", PEERS / "crd_check.mjs", NPM], documents)


def by_models(documents: list[Document]) -> list[list[str]]:
    return asked([helm().python, PEERS / "operator_models.py"], documents)


def asked(command: list[Any], documents: list[Document]) -> list[list[str]]:
    done = subprocess.run(
        command, input=json.dumps(documents), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def broken(document: Document, *path: Any, value: Any) -> Document:
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def one(documents: list[Document], kind: str) -> Document:
    return next(document for document in documents if document["kind"] == kind)


def test_flux_argo_cd_keda_and_prometheus_operator_know_every_field():
    documents = written(BY_TYPES)
    spoilt = [
        broken(one(documents, "OCIRepository"), "spec", "verfy", value={}),
        broken(one(documents, "Kustomization"), "spec", "interval", value=10),
        broken(one(documents, "Application"), "spec", "project", value=None),
        broken(one(documents, "ScaledObject"), "spec", "maxReplicaCount", value="many"),
        broken(one(documents, "ServiceMonitor"), "spec", "endpoints", 0, "paht", value="/"),
    ]
    complaints = by_types([*documents, *spoilt])
    told = dict(zip(map(str, documents), complaints, strict=False))
    assert {name: found for name, found in told.items() if found} == {}
    assert all(complaints[len(documents) :]), "a planted mistake was not seen"


def test_kserve_and_kyverno_know_every_field():
    documents = written(BY_MODELS)
    spoilt = [
        broken(
            one(documents, "InferenceService"), "spec", "predictor", "model", "runtim", value=""
        ),
        broken(one(documents, "ServingRuntime"), "spec", "containers", 0, "readOnly", value=True),
        broken(one(documents, "ClusterPolicy"), "spec", "rules", 0, "verifyImags", value=[]),
    ]
    complaints = by_models([*documents, *spoilt])
    told = dict(zip(map(str, documents), complaints, strict=False))
    assert {name: found for name, found in told.items() if found} == {}
    assert all(complaints[len(documents) :]), "a planted mistake was not seen"


# What sigstore/policy-controller's own definition (config/300-clusterimagepolicy.yaml, commit
# 0adb8031) calls the fields that we use, written down here since no package carries it.
CLUSTER_IMAGE_POLICY = {
    "mode": str,
    "images": [{"glob": str}],
    "authorities": [{"name": str, "key": {"data": str, "hashAlgorithm": str}}],
}


def test_the_policy_controllers_fields_are_written_as_its_definition_has_them():
    documents = written({"ClusterImagePolicy"})
    for document in documents:
        assert document["apiVersion"] == "policy.sigstore.dev/v1beta1"
        assert shape(document["spec"]) == CLUSTER_IMAGE_POLICY


def shape(value: Any) -> Any:
    """The fields and the types of values; a list by its first entry, which the others are like."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        shapes = [shape(item) for item in value]
        assert all(item == shapes[0] for item in shapes)
        return shapes[:1]
    return type(value)
