"""An image that speaks gRPC is reachable there on every platform; no other image has the port."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from built_targets import sample_target

from packager.domain.serving import Serving
from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

PORT = "8081"


def rendered(platform: DeploymentPlatform, *, grpc: bool = True) -> dict[str, str]:
    built, request = sample_target("de", "x86-64-v3", platform)
    request = dataclasses.replace(request, serving=Serving(grpc=grpc))
    return {
        name: data.decode()
        for name, data in render_target(built, request).items()
        if name != "install.sh"
    }


@pytest.mark.parametrize("platform", list(DeploymentPlatform))
def test_without_grpc_nothing_names_the_port(platform: DeploymentPlatform) -> None:
    files = rendered(platform, grpc=False)
    assert [name for name, text in files.items() if PORT in text] == []


def test_kubernetes() -> None:
    files = rendered(DeploymentPlatform.KUBERNETES)
    pod = yaml.safe_load(files["base/deployment.yaml"])["spec"]["template"]["spec"]
    ports = {one["name"]: one["containerPort"] for one in pod["containers"][0]["ports"]}
    assert ports == {"http": 8080, "grpc": 8081}
    service = yaml.safe_load(files["base/service.yaml"])["spec"]
    assert [(one["name"], one["port"], one["targetPort"]) for one in service["ports"]] == [
        ("http", 8080, "http"),
        ("grpc", 8081, "grpc"),
    ]
    policy = yaml.safe_load(files["base/networkpolicy.yaml"])["spec"]
    assert [one["port"] for one in policy["ingress"][0]["ports"]] == [8080, 8081]
    assert policy["egress"] == []
    runtime = yaml.safe_load(files["overlays/kserve/servingruntime.yaml"])["spec"]
    assert runtime["protocolVersions"] == ["v2", "grpc-v2"]


def test_helm() -> None:
    files = rendered(DeploymentPlatform.HELM)
    for name in ("deployment", "service", "networkpolicy", "NOTES"):
        (text,) = [text for path, text in files.items() if path.startswith(f"templates/{name}.")]
        assert PORT in text, name


def test_compose() -> None:
    services = yaml.safe_load(rendered(DeploymentPlatform.COMPOSE)["compose.yaml"])["services"]
    assert services["door"]["command"][-2:] == [PORT, PORT]
    assert services["door"]["ports"] == [
        "127.0.0.1:${PACKAGER_PORT:-8080}:8080",
        "127.0.0.1:${PACKAGER_GRPC_PORT:-8081}:8081",
    ]
    assert "ports" not in services["server"]


def test_quadlet() -> None:
    files = rendered(DeploymentPlatform.QUADLET)
    (listening,) = [text for name, text in files.items() if name.endswith("-door.socket")]
    assert "ListenStream=127.0.0.1:8080\nListenStream=127.0.0.1:8081\n" in listening
    (door,) = [text for name, text in files.items() if name.endswith("-door.container")]
    assert "127.0.0.1 8080 passed 3 10 8081 4\n" in door
