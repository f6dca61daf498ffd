"""The rendered charts, by Go's own template engine and Sprig: the same objects as the manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from built_targets import HARDWARE, JURISDICTIONS, sample_target
from charts import ChartEngine, chart_engine, merged

from packager.domain.target import DeploymentPlatform
from packager.render.images import documents
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine

HELM, KUBERNETES = DeploymentPlatform.HELM, DeploymentPlatform.KUBERNETES
NEWEST = list(dict.fromkeys(kubernetes_validate.utils.all_versions()))[-3:]
FROM_ADD_ONS = ("ScaledObject", "ServiceMonitor")


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[ChartEngine]:
    with chart_engine(tmp_path_factory.mktemp("go")) as found:
        yield found


def chart(where="de", machine="x86-64-v3"):
    return render_target(*sample_target(where, machine, HELM))


def by_name(objects) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


@pytest.mark.parametrize("machine", HARDWARE)
@pytest.mark.parametrize("where", JURISDICTIONS)
def test_a_chart_installs_what_the_manifests_say(engine, where, machine):
    instance = f"filetype-{where}-{machine}"
    got = by_name(engine.manifests(chart(where, machine), namespace=instance))
    files = render_target(*sample_target(where, machine, KUBERNETES))
    wanted = by_name(
        document
        for name, data in files.items()
        if name.startswith("base/") and not name.endswith("kustomization.yaml")
        for document in documents(name, data)
        if document["kind"] != "Namespace"  # Helm makes it, or the operator
    )
    assert got.keys() == wanted.keys()
    own_image = sample_target(where, machine, HELM)[0].pinned_reference
    other_image = sample_target(where, machine, KUBERNETES)[0].pinned_reference
    for key, one in wanted.items():
        text = json.dumps(one).replace(other_image, own_image)
        assert normal(got[key]) == normal(json.loads(text.replace("/kubernetes", "/helm"))), key


def normal(one: dict[str, Any]) -> dict[str, Any]:
    """Memory as bytes, whichever way it is written."""
    text = json.dumps(one, sort_keys=True)
    for mebibytes in (896, 2944):
        text = text.replace(f'"{mebibytes}Mi"', str(mebibytes << 20))
    return json.loads(text)


@pytest.mark.parametrize("version", NEWEST)
def test_what_is_installed_passes_the_schemas(engine, version):
    for machine in HARDWARE:
        for one in engine.manifests(chart("de", machine)):
            kubernetes_validate.validate(one, version, strict=True)


CHANGES: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "keda instead": ({"keda": {"enabled": True}}, {"ScaledObject"}, {"HorizontalPodAutoscaler"}),
    "watched": ({"monitoring": {"enabled": True}}, {"ServiceMonitor"}, set()),
    "no admission": (
        {"admission": {"enabled": False}},
        set(),
        {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
    ),
    "a fixed number": (
        {"autoscaling": {"enabled": False}, "replicas": 3},
        set(),
        {"HorizontalPodAutoscaler"},
    ),
    "a secret and a priority": (
        {"imagePullSecrets": [{"name": "pull"}], "priorityClassName": "high"},
        set(),
        set(),
    ),
}


@pytest.mark.parametrize(("changes", "more", "less"), CHANGES.values(), ids=CHANGES)
def test_values_change_what_they_say_and_nothing_that_holds(engine, changes, more, less):
    files = chart()
    jsonschema.validate(merged(yaml.safe_load(files["values.yaml"]), changes), schema(files))
    plain = by_name(engine.manifests(files))
    got = by_name(engine.manifests(files, changes=changes))
    kinds, before = {kind for kind, _ in got}, {kind for kind, _ in plain}
    assert kinds - before == more
    assert before - kinds == less
    for one in got.values():
        assert one["metadata"].get("namespace", "models") == "models"
        if one["kind"] not in FROM_ADD_ONS:
            kubernetes_validate.validate(one, NEWEST[-1], strict=True)
    was, now = (held(one[("Deployment", "filetype")]) for one in (plain, got))
    assert was == now
    key = ("NetworkPolicy", "filetype")
    assert plain[key] == got[key]


def held(deployment: dict[str, Any]) -> tuple[Any, ...]:
    """The image, the places and the rights of the pod."""
    pod = deployment["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    return server["image"], pod["affinity"], pod["securityContext"], server["securityContext"]


def schema(files) -> dict[str, Any]:
    return json.loads(files["values.schema.json"])


def test_the_charts_own_values_are_what_its_schema_takes():
    for machine in HARDWARE:
        files = chart(machine=machine)
        jsonschema.Draft7Validator.check_schema(schema(files))
        jsonschema.validate(yaml.safe_load(files["values.yaml"]), schema(files))


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "evil.example/x:1"},
        {"affinity": {}},
        {"replicas": 0},
        {"keda": {"prometheusUrl": "http://x\n  evil: true"}},
        {"priorityClassName": "a: b"},
        {"resources": {"limits": {"memory": "1Gi\n        privileged: true"}}},
        {"imagePullSecrets": ["pull"]},
        {"monitoring": {"enabled": "yes"}},
    ],
)
def test_the_schema_refuses_what_is_no_value(changes):
    files = chart()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged(yaml.safe_load(files["values.yaml"]), changes), schema(files))


def test_the_notes_tell_where_to_ask(engine):
    notes = engine.render(chart())["templates/NOTES.txt"]
    assert "http://filetype.models.svc:8080/v2" in notes
    assert "{{" not in notes
