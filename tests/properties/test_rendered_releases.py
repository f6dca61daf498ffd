"""Any valid release renders into manifests that platforms accept.

`PACKAGER_RELEASES=2000 pytest tests/properties/test_rendered_releases.py` asks for more than the
default 120 releases, and validates each against Kubernetes' schema.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from built_targets import (
    AMD64,
    ARM64,
    ASCEND,
    L4,
    MI300X,
    MIG,
    ORIN,
    PUBLIC_KEY,
    build_target,
    hardware,
    jurisdiction,
    optimized,
    release_request,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from units import parse_unit

from packager.digest import Digest
from packager.domain.target import DeploymentPlatform, Region
from packager.render.images import documents
from packager.render.rendering import images_named, render_target
from packager.render.templating import is_unit

NEWEST = list(dict.fromkeys(kubernetes_validate.utils.all_versions()))[-3:]
DNS_1035 = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(
    r"((app|topology|pod-security|kubernetes)\.kubernetes\.io|kubernetes\.io|nvidia\.com"
    r"|packager\.dev|packager\.dev\.node-restriction\.kubernetes\.io)/[A-Za-z0-9._-]{1,63}"
)
SEMANTIC = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")
FLOATING = re.compile(rb":latest\b")

RELEASES = int(os.environ.get("PACKAGER_RELEASES", "120"))
SECRETS = re.compile(rb"kind: Secret|PRIVATE KEY|hostPath:|nvidia\.com/gpu=|amd\.com/gpu=|\bNone\b")

# A country may be called anything but what a missing value would look like in a manifest.
country_names = st.text(max_size=40).filter(lambda name: not SECRETS.search(name.encode()))
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
versions = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._-]{0,39}", fullmatch=True)
ids = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,3}", fullmatch=True)
label_texts = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,40}[A-Za-z0-9])?", fullmatch=True)
regions = st.builds(Region, st.sampled_from(["aws", "azure", "gcp", "site"]), label_texts)
registries = st.none() | st.from_regex(
    r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]{1,9}){0,2}", fullmatch=True
)
profiles = st.builds(
    hardware,
    ids,
    st.sampled_from([AMD64, ARM64]),
    st.sampled_from([None, L4, MIG, ORIN, MI300X, ASCEND]),
    st.dictionaries(st.just("nvidia.com/gpu.product"), label_texts),
)


@st.composite
def releases(draw: st.DrawFn) -> Any:
    request = release_request(draw(names), draw(versions))
    places = tuple(sorted(draw(st.sets(regions, max_size=3))))
    built = build_target(
        request,
        jurisdiction(draw(ids), draw(country_names), places),
        draw(profiles),
        draw(st.sampled_from(list(DeploymentPlatform))),
        regions=places,
        registry=draw(registries),
        digest=Digest.of(draw(st.binary(max_size=4))),
        model=optimized(draw(st.integers(1, 1 << 36)), draw(st.integers(0, 128))),
    )
    return built, request


def manifests(files: dict[str, bytes]) -> Iterator[dict[str, Any]]:
    for name, data in files.items():
        if name.startswith("base/") and not name.endswith("kustomization.yaml"):
            yield from documents(name, data)


def labelled(node: object) -> Iterator[dict[str, str]]:
    """Every mapping of labels, wherever it stands."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("labels", "matchLabels", "selector") and isinstance(value, dict):
                yield from [value] if "matchLabels" not in value else [value["matchLabels"]]
            else:
                yield from labelled(value)
    elif isinstance(node, list):
        for value in node:
            yield from labelled(value)


def check_names(manifest: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    assert DNS_1035.fullmatch(metadata["name"])
    assert DNS_1035.fullmatch(metadata.get("namespace", "cluster"))
    for labels in labelled(manifest):
        assert all(LABEL_KEY.fullmatch(key) for key in labels)
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
    assert all(isinstance(text, str) for text in metadata.get("annotations", {}).values())


@settings(max_examples=RELEASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases())
def test_any_release_gives_manifests_with_good_names_labels_and_one_image(release):
    built, request = release
    files = render_target(built, request, public_key=PUBLIC_KEY)
    platform = built.plan.name.platform
    assert images_named(files) == {built.pinned_reference}
    for name, data in files.items():
        assert not FLOATING.search(data)
        if platform.on_kubernetes:
            # The installer carries programs in Python, in which None is a word like others.
            said = data.replace(b"None", b"") if name.endswith("install.sh") else data
            assert not SECRETS.search(said), name
        if is_unit(name):
            units = parse_unit(data)
            assert all(values for section in units.values() for values in section.values())
    for manifest in manifests(files):
        check_names(manifest)
        if RELEASES >= 1000:
            kubernetes_validate.validate(manifest, NEWEST[-1], strict=True)
    if "compose.yaml" in files:
        (compose,) = documents("compose.yaml", files["compose.yaml"])
        assert DNS_1035.fullmatch(compose["name"])
    if "Chart.yaml" in files:
        (chart,) = documents("Chart.yaml", files["Chart.yaml"])
        assert SEMANTIC.fullmatch(chart["version"])
        (values,) = documents("values.yaml", files["values.yaml"])
        jsonschema.validate(values, json.loads(files["values.schema.json"]))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases().filter(lambda one: one[0].plan.name.platform is DeploymentPlatform.KUBERNETES))
def test_the_newest_kubernetes_accepts_any_release(release):
    for manifest in manifests(render_target(*release)):
        kubernetes_validate.validate(manifest, NEWEST[-1], strict=True)


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize("machine", ["x86-64-v3", "arm64-v8", "nvidia-l4"])
def test_three_kubernetes_minors_accept_the_sample_targets(version, machine):
    from built_targets import sample_target

    for where in ("de", "sa", "sg"):
        files = render_target(*sample_target(where, machine, DeploymentPlatform.KUBERNETES))
        found = list(manifests(files))
        assert len(found) >= 6
        for manifest in found:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_would_see_a_mistake():
    from built_targets import sample_target

    files = render_target(*sample_target("de", "x86-64-v3", DeploymentPlatform.KUBERNETES))
    (deployment,) = documents("base/deployment.yaml", files["base/deployment.yaml"])
    deployment["spec"]["template"]["spec"]["readOnly"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST[-1], strict=True)
