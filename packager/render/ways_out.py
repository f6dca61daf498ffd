"""Which ways out a rendered target leaves open: read from the manifests, whoever wrote them.

Nothing is what we render. A way out comes in with a template of the user's or a change by hand, and
is told in words, so that two renderings can be compared by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from packager.render.images import documents, is_chart_template
from packager.render.templating import is_unit, is_yaml

Files = Mapping[str, bytes]
_ACTION = re.compile(r"^[ \t]*\{\{-.*\}\}[ \t]*$", re.MULTILINE)
_VALUE = re.compile(r"\{\{.*?\}\}")
_UNIT_LINE = re.compile(r"^[ \t]*(Network|PublishPort)[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def ways_out(files: Files) -> frozenset[str]:
    """Each way out of one target's deployment, in words; empty when there is none."""
    found: set[str] = set()
    policies = [one for one in objects(files) if one.get("kind") == "NetworkPolicy"]
    kinds = {one.get("kind") for one in objects(files)}
    if kinds & {"Deployment", "InferenceService"}:
        if not any(_closes(policy) for policy in policies):
            found.add("everywhere: no network policy closes it")
        found.update(way for policy in policies for way in _egress(policy))
    for name, data in files.items():
        if name.endswith("compose.yaml"):
            for compose in documents(name, data):
                found.update(_of_compose(compose))
        if is_unit(name):
            found.update(_of_unit(name, data.decode()))
    return frozenset(found)


def objects(files: Files) -> Iterator[dict[str, Any]]:
    """The Kubernetes objects of manifests and charts; of a chart, with its values left blank."""
    for name, data in files.items():
        if not is_yaml(name) or name.endswith("compose.yaml"):
            continue
        text = data.decode()
        if is_chart_template(name):
            text = _VALUE.sub("X", _ACTION.sub("", text))
        for document in documents(name, text.encode()):
            if isinstance(document, dict) and "kind" in document:
                yield document


def _closes(policy: Mapping[str, Any]) -> bool:
    return "Egress" in (policy["spec"].get("policyTypes") or ())


def _egress(policy: Mapping[str, Any]) -> Iterator[str]:
    for rule in policy["spec"].get("egress") or ():
        peers = rule.get("to") or [None]
        ports = ", ".join(str(port.get("port", "any port")) for port in rule.get("ports") or ())
        for peer in peers:
            yield f"{_peer(peer)}{f', port {ports}' if ports else ''}"


def _peer(peer: Mapping[str, Any] | None) -> str:
    match peer:
        case None:
            return "everywhere"
        case {"ipBlock": {"cidr": cidr}}:
            return f"addresses {cidr}"
        case {"namespaceSelector": {"matchLabels": labels}}:
            return f"namespaces with {_pairs(labels)}"
        case {"podSelector": {"matchLabels": labels}}:
            return f"pods with {_pairs(labels)}"
        case _:
            return "other pods of the cluster"


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _of_compose(compose: Mapping[str, Any]) -> Iterator[str]:
    networks = compose.get("networks") or {}
    for name, service in (compose.get("services") or {}).items():
        if service.get("network_mode") not in (None, "none"):
            yield f"{name}: network_mode {service['network_mode']}"
        for network in service.get("networks") or ["default"]:
            settings = networks.get(network) or {}
            options = settings.get("driver_opts") or {}
            masked = str(options.get("com.docker.network.bridge.enable_ip_masquerade", "true"))
            if not settings.get("internal") and masked.lower() != "false":
                yield f"{name}: the network {network} leads outside"


def _of_unit(name: str, text: str) -> Iterator[str]:
    keys = [(match[1], match[2]) for match in _UNIT_LINE.finditer(text)]
    networks = [value for key, value in keys if key == "Network"]
    if name.endswith(".container"):
        if not networks:
            yield f"{name}: podman's default network"
        for network in networks:
            if network != "none" and not network.startswith("container:"):
                yield f"{name}: the network {network}"
