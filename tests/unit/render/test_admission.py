"""The rendered admission policies, evaluated for real against good and bad pods."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from admission import refusals
from built_targets import sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.images import documents
from packager.render.rendering import render_target

Object = dict[str, Any]
FILES = render_target(*sample_target("de", "x86-64-v3", DeploymentPlatform.KUBERNETES))
POLICIES = documents(
    "base/validatingadmissionpolicy.yaml", FILES["base/validatingadmissionpolicy.yaml"]
)
IMAGE = sample_target("de", "x86-64-v3", DeploymentPlatform.KUBERNETES)[0].pinned_reference
JURISDICTION = "packager.dev.node-restriction.kubernetes.io/jurisdiction"


def own_pod() -> Object:
    """The pod that the rendered Deployment makes."""
    template = yaml.safe_load(FILES["base/deployment.yaml"])["spec"]["template"]
    return {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}


def terms(pod: Object) -> list[Object]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    return pod["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"]


def rule_of(pod: Object, term: int, key: str) -> Object:
    return next(rule for rule in terms(pod)[term]["matchExpressions"] if rule["key"] == key)


def server(pod: Object) -> Object:
    return pod["spec"]["containers"][0]


def with_container(kind: str, image: str) -> Callable[[Object], None]:
    return lambda pod: pod["spec"].setdefault(kind, []).append({"name": "other", "image": image})


def with_volume(**volume: Any) -> Callable[[Object], None]:
    return lambda pod: pod["spec"]["volumes"].append({"name": "other", **volume})


def set_rule(term: int, key: str, **values: Any) -> Callable[[Object], None]:
    return lambda pod: rule_of(pod, term, key).update(values)


GOOD: dict[str, Callable[[Object], object]] = {
    "as rendered": lambda pod: None,
    "one place of the two": lambda pod: terms(pod).pop(),
    "the places the other way round": lambda pod: terms(pod).reverse(),
    "a narrower place": lambda pod: terms(pod)[0]["matchExpressions"].append(
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-central-1a"]}
    ),
    "a second container of the image": with_container("containers", IMAGE),
    "an init container of the image": with_container("initContainers", IMAGE),
    "more memory": lambda pod: server(pod)["resources"]["limits"].update(memory=1 << 32),
    "other hardware labels": lambda pod: rule_of(pod, 0, "kubernetes.io/arch").update(
        values=["arm64"]
    ),
    "host network said to be off": lambda pod: pod["spec"].update(hostNetwork=False),
    "host network not mentioned": lambda pod: pod["spec"].pop("hostNetwork"),
    "a config map": with_volume(configMap={"name": "settings"}),
    "a projected volume": with_volume(projected={"sources": []}),
    "no volumes": lambda pod: pod["spec"].pop("volumes"),
    "another preferred place": lambda pod: pod["spec"]["affinity"]["nodeAffinity"].update(
        preferredDuringSchedulingIgnoredDuringExecution=[]
    ),
    "a toleration": lambda pod: pod["spec"].update(tolerations=[{"operator": "Exists"}]),
}

BAD: dict[str, tuple[Callable[[Object], object], str]] = {
    "a tag": (lambda pod: server(pod).update(image=f"{IMAGE.partition('@')[0]}:1.4.0"), "digest"),
    "another digest": (lambda pod: server(pod).update(image=IMAGE[:-1] + "0"), "digest"),
    "another repository": (
        lambda pod: server(pod).update(image=IMAGE.replace("example.de", "example.us")),
        "digest",
    ),
    "no image": (lambda pod: server(pod).pop("image"), "digest"),
    "a stranger beside it": (with_container("containers", "curl:8"), "digest"),
    "a stranger before it": (with_container("initContainers", "curl:8"), "digest"),
    "a stranger attached to it": (with_container("ephemeralContainers", "busybox"), "digest"),
    "no affinity": (lambda pod: pod["spec"].pop("affinity"), "places"),
    "no node affinity": (lambda pod: pod["spec"]["affinity"].pop("nodeAffinity"), "places"),
    "only preferred": (
        lambda pod: pod["spec"]["affinity"].update(
            nodeAffinity={"preferredDuringSchedulingIgnoredDuringExecution": []}
        ),
        "places",
    ),
    "no terms": (lambda pod: terms(pod).clear(), "places"),
    "a term without expressions": (lambda pod: terms(pod).append({}), "places"),
    "a term by field": (
        lambda pod: terms(pod).append({"matchFields": [{"key": "metadata.name"}]}),
        "places",
    ),
    "a third place": (
        lambda pod: (
            terms(pod).append(copy.deepcopy(terms(pod)[0]))
            or set_rule(2, "topology.kubernetes.io/region", values=["us-east-1"])(pod)
        ),
        "places",
    ),
    "another region": (
        set_rule(0, "topology.kubernetes.io/region", values=["us-east-1"]),
        "places",
    ),
    "another region too": (
        set_rule(0, "topology.kubernetes.io/region", values=["eu-central-1", "us-east-1"]),
        "places",
    ),
    "anywhere but": (set_rule(0, "topology.kubernetes.io/region", operator="NotIn"), "places"),
    "wherever it exists": (
        set_rule(0, "topology.kubernetes.io/region", operator="Exists", values=[]),
        "places",
    ),
    "no jurisdiction": (
        lambda pod: terms(pod)[0]["matchExpressions"].remove(rule_of(pod, 0, JURISDICTION)),
        "places",
    ),
    "another jurisdiction": (set_rule(0, JURISDICTION, values=["us"]), "places"),
    "the region of another provider": (
        set_rule(0, "topology.kubernetes.io/region", values=["germanywestcentral"]),
        "places",
    ),
    "a node by name": (lambda pod: pod["spec"].update(nodeName="node-1"), "scheduler"),
    "the host's network": (lambda pod: pod["spec"].update(hostNetwork=True), "network policy"),
    "a path of the host": (with_volume(hostPath={"path": "/"}), "memory"),
    "a claim on a disk": (with_volume(persistentVolumeClaim={"claimName": "x"}), "memory"),
    "an ephemeral disk": (with_volume(ephemeral={"volumeClaimTemplate": {}}), "memory"),
    "an empty folder on disk": (with_volume(emptyDir={}), "memory"),
    "a network file system": (with_volume(nfs={"server": "x", "path": "/"}), "memory"),
    "a volume of a driver": (with_volume(csi={"driver": "x"}), "memory"),
}


@pytest.mark.parametrize("change", GOOD.values(), ids=GOOD)
def test_a_good_pod_is_admitted(change):
    pod = own_pod()
    change(pod)
    assert refusals(POLICIES, pod) == []


@pytest.mark.parametrize(("change", "told"), BAD.values(), ids=BAD)
def test_a_bad_pod_is_refused_for_what_is_wrong_with_it_and_nothing_else(change, told):
    pod = own_pod()
    change(pod)
    (message,) = refusals(POLICIES, pod)
    assert told in message


def test_a_pod_of_the_version_before_can_still_be_marked_and_taken_away():
    before = own_pod()
    server(before)["image"] = IMAGE[:-1] + "0"
    marked = copy.deepcopy(before)
    marked["metadata"]["finalizers"] = []
    assert refusals(POLICIES, marked, before=before) == []


def test_a_running_pod_is_not_given_another_image():
    before = own_pod()
    before["spec"]["nodeName"] = "node-1"  # the scheduler's own work
    changed = copy.deepcopy(before)
    server(changed)["image"] = "evil@sha256:0"
    (message,) = refusals(POLICIES, changed, before=before)
    assert "digest" in message


def test_a_debugging_container_is_refused_where_it_is_attached():
    before = own_pod()
    debugged = copy.deepcopy(before)
    with_container("ephemeralContainers", "busybox")(debugged)
    assert refusals(POLICIES, debugged, before=before, resource="pods/ephemeralcontainers")


NETWORK = yaml.safe_load(FILES["base/networkpolicy.yaml"])


@pytest.mark.parametrize(
    ("change", "admitted"),
    [
        (lambda policy: None, True),
        (lambda policy: policy["spec"].pop("egress"), True),
        (lambda policy: policy["metadata"].update(name="more-callers"), True),
        (lambda policy: policy["spec"].update(egress=[{}]), False),
        (lambda policy: policy["spec"].update(egress=[{"ports": [{"port": 53}]}]), False),
        (lambda policy: policy["spec"].update(policyTypes=["Ingress"]), False),
        (lambda policy: policy["spec"].pop("policyTypes"), False),
        (lambda policy: policy["spec"].update(podSelector={"matchLabels": {"a": "b"}}), False),
        (lambda policy: (policy["metadata"].update(name="hole"),
                         policy["spec"].update(egress=[{}])), False),
    ],
)  # fmt: skip
def test_no_network_policy_opens_a_way_out(change, admitted):
    policy = copy.deepcopy(NETWORK)
    change(policy)
    said = refusals(POLICIES, policy, resource="networkpolicies", group="networking.k8s.io")
    assert bool(said) is not admitted


def test_a_jurisdiction_without_regions_still_demands_the_administrators_word():
    from built_targets import HARDWARE, build_target, jurisdiction, release_request

    built = build_target(
        release_request(), jurisdiction("de", "Germany", ()), HARDWARE["x86-64-v3"],
        DeploymentPlatform.KUBERNETES,
    )  # fmt: skip
    files = render_target(built, release_request())
    policies = documents("x.yaml", files["base/validatingadmissionpolicy.yaml"])
    template = yaml.safe_load(files["base/deployment.yaml"])["spec"]["template"]
    assert refusals(policies, template) == []
    rule_of(template, 0, JURISDICTION)["values"] = ["us"]
    assert refusals(policies, template)
