"""What a rendered target holds, platform by platform."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from built_targets import (
    AMD64,
    HARDWARE,
    JURISDICTIONS,
    L4,
    PUBLIC_KEY,
    build_target,
    hardware,
    jurisdiction,
    release_request,
    sample_target,
)
from golden_targets import facts

from packager.domain.target import DeploymentPlatform
from packager.errors import InputError
from packager.render.context import MAY_CALL
from packager.render.installer import NAME as INSTALLER
from packager.render.rendering import images_named, render_target

KUBERNETES = DeploymentPlatform.KUBERNETES
COMPOSE = DeploymentPlatform.COMPOSE
QUADLET = DeploymentPlatform.QUADLET
EVERY = [
    (where, machine, platform)
    for where in JURISDICTIONS
    for machine in HARDWARE
    for platform in DeploymentPlatform
]


def rendered(where="de", machine="x86-64-v3", platform=KUBERNETES, templates=None):
    built, request = sample_target(where, machine, platform)
    return render_target(built, request, templates=templates, public_key=PUBLIC_KEY)


def document(files, name):
    return yaml.safe_load(files[name])


def pod(files):
    return document(files, "base/deployment.yaml")["spec"]["template"]["spec"]


@pytest.mark.parametrize(("where", "machine", "platform"), EVERY)
def test_every_manifest_names_the_targets_image_by_digest_and_no_other(where, machine, platform):
    built, request = sample_target(where, machine, platform)
    assert images_named(render_target(built, request)) == {built.pinned_reference}


@pytest.mark.parametrize(("where", "machine", "platform"), EVERY)
def test_nothing_rendered_floats_or_leaks(where, machine, platform):
    files = {name: data.decode() for name, data in rendered(where, machine, platform).items()}
    if INSTALLER in files:  # its program is Python and shell, and names nothing by itself
        files[INSTALLER] = facts(files[INSTALLER])
    everything = "\n".join(files.values())
    assert ":latest" not in everything
    if platform is KUBERNETES:
        assert "nvidia.com/gpu=" not in everything  # CDI, which no API server takes
    assert "kind: Secret" not in everything
    assert "PRIVATE KEY" not in everything
    assert "hostPath" not in everything
    assert "None" not in everything


def test_the_same_target_gives_the_same_bytes():
    assert rendered() == rendered()


def test_kubernetes_files_have_the_names_that_decisions_point_to():
    assert {name for name in rendered() if name.startswith("base/")} == {
        "base/deployment.yaml",
        "base/horizontalpodautoscaler.yaml",
        "base/kustomization.yaml",
        "base/namespace.yaml",
        "base/networkpolicy.yaml",
        "base/poddisruptionbudget.yaml",
        "base/service.yaml",
        "base/serviceaccount.yaml",
        "base/validatingadmissionpolicy.yaml",
    }


def test_compose_is_one_file_its_story_and_the_installer():
    assert set(rendered(platform=COMPOSE)) == {
        "README.md",
        "compose.yaml",
        "install.sh",
        "without-compose/containerd.sh",
        "without-compose/docker.sh",
    }


@pytest.mark.parametrize("machine", HARDWARE)
def test_the_kustomization_lists_exactly_the_other_manifests(machine):
    files = rendered(machine=machine)
    listed = document(files, "base/kustomization.yaml")["resources"]
    plain = {name.removeprefix("base/") for name in files if name.startswith("base/")}
    assert sorted(listed) == sorted(plain - {"kustomization.yaml"})


def test_the_pod_has_no_rights():
    spec = pod(rendered())
    (server,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (volume,) = spec["volumes"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": 64 << 20}


def test_the_grace_period_holds_the_endpoints_and_the_drain():
    spec = pod(rendered())
    waiting = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > waiting + 10


def test_the_network_policy_closes_both_directions():
    files = rendered()
    spec = document(files, "base/networkpolicy.yaml")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    assert spec["ingress"] == [
        {
            "from": [
                {"podSelector": {}},
                {"namespaceSelector": {"matchLabels": {MAY_CALL: "filetype-de-x86-64-v3"}}},
            ],
            "ports": [{"protocol": "TCP", "port": 8080}],
        }
    ]
    assert spec["podSelector"] == {}


def test_one_region_is_told_to_the_runtime_and_several_are_not():
    one = pod(rendered("sg"))["containers"][0]
    assert one["env"] == [{"name": "PACKAGER_REGION", "value": "aws/ap-southeast-1"}]
    assert "env" not in pod(rendered("de"))["containers"][0]
    compose = document(rendered("sa", platform=COMPOSE), "compose.yaml")
    assert compose["services"]["server"]["environment"] == {"PACKAGER_REGION": "site/riyadh-lab"}


def test_a_node_qualifies_by_one_of_the_regions():
    affinity = pod(rendered("de"))["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    asked = [
        {rule["key"]: rule["values"] for rule in term["matchExpressions"]}[
            "topology.kubernetes.io/region"
        ]
        for term in terms
    ]
    assert asked == [["eu-central-1"], ["germanywestcentral"]]


def test_an_accelerator_is_asked_for_by_its_resource_and_not_scaled():
    files = rendered(machine="nvidia-l4")
    spec = pod(files)
    assert spec["runtimeClassName"] == "nvidia"
    resources = spec["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 1
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "base/horizontalpodautoscaler.yaml" not in files
    deployment = document(files, "base/deployment.yaml")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_where_something_scales_no_fixed_number_fights_it():
    assert "replicas" not in document(rendered(), "base/deployment.yaml")["spec"]


def test_compose_gives_the_server_no_way_out_and_publishes_on_loopback_only():
    file = document(rendered(platform=COMPOSE), "compose.yaml")
    server, door = file["services"]["server"], file["services"]["door"]
    assert server["networks"] == ["inside"]
    assert file["networks"]["inside"]["internal"] is True
    assert "ports" not in server
    assert door["ports"] == ["127.0.0.1:${PACKAGER_PORT:-8080}:8080"]
    for service in (server, door):
        assert service["user"] == "65532:65532"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "volumes" not in service


def test_compose_reserves_the_accelerator_for_the_server_alone():
    services = document(rendered(machine="nvidia-l4", platform=COMPOSE), "compose.yaml")["services"]
    (device,) = services["server"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["device_ids"] == ["0"]
    assert "reservations" not in services["door"]["deploy"]["resources"]


@pytest.mark.parametrize(
    ("accelerator", "platform", "told"),
    [
        (dataclasses.replace(L4, kubernetes_resource=None), KUBERNETES, "no Kubernetes resource"),
        (dataclasses.replace(L4, vendor="Acme"), COMPOSE, "how compose hands a device of Acme"),
        (dataclasses.replace(L4, vendor="Acme"), QUADLET, "how quadlet hands a device of Acme"),
    ],
)
def test_a_device_that_cannot_be_asked_for_is_refused(accelerator, platform, told):
    profile = hardware("odd", AMD64, accelerator)
    request = release_request()
    built = build_target(request, jurisdiction("de", "Germany", ()), profile, platform)
    with pytest.raises(InputError, match=told):
        render_target(built, request)


def test_the_story_tells_what_is_left_to_the_operator():
    for platform in DeploymentPlatform:
        story = rendered("sa", platform=platform)["README.md"].decode()
        assert "Logs are kept for 183 days (`sa/log-retention`)" in story
        assert "sa/egress" not in story


def test_a_release_without_a_registry_is_told_what_to_do():
    for platform in DeploymentPlatform:
        assert b"registry: {sg:" in rendered("sg", platform=platform)["README.md"]
        assert b"names no registry" not in rendered("de", platform=platform)["README.md"]


def test_a_users_template_that_comes_out_empty_takes_the_file_away(tmp_path):
    folder = tmp_path / "kubernetes" / "base"
    folder.mkdir(parents=True)
    (folder / "poddisruptionbudget.yaml.j2").write_text("{# none here #}\n")
    (folder / "quota.yaml.j2").write_text(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: {{ name }}}\n"
    )
    files = rendered(templates=tmp_path)
    listed = document(files, "base/kustomization.yaml")["resources"]
    assert "base/poddisruptionbudget.yaml" not in files
    assert "poddisruptionbudget.yaml" not in listed
    assert "quota.yaml" in listed
    assert document(files, "base/quota.yaml")["metadata"]["name"] == "filetype"


def test_a_users_template_that_gives_no_yaml_is_refused(tmp_path):
    folder = tmp_path / "kubernetes" / "base"
    folder.mkdir(parents=True)
    (folder / "service.yaml.j2").write_text("a: [1\nb: 2\n")
    with pytest.raises(InputError, match="no YAML"):
        rendered(templates=tmp_path)


def test_a_strangers_image_in_a_users_template_is_found(tmp_path):
    folder = tmp_path / "compose"
    folder.mkdir()
    (folder / "compose.yaml.j2").write_text("services: {a: {image: {{ image }}}, b: {image: b:1}}")
    built, request = sample_target("de", "x86-64-v3", COMPOSE)
    named = images_named(render_target(built, request, templates=tmp_path))
    assert named - {built.pinned_reference} == {"b:1"}
