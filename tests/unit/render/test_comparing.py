"""Two renderings, compared in words."""

from __future__ import annotations

import pytest
from built_targets import PUBLIC_KEY, sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.comparing import compare
from packager.render.rendering import render_target
from packager.render.settings import parse_settings
from packager.render.ways_out import ways_out

KUBERNETES = DeploymentPlatform.KUBERNETES
POLICY = "base/networkpolicy.yaml"


def rendered(platform=KUBERNETES, *settings, where="de"):
    built, request = sample_target(where, "x86-64-v3", platform)
    figures = parse_settings(settings)
    return render_target(built, request, public_key=PUBLIC_KEY, settings=figures)


def words(before, after):
    return [str(change) for change in compare(before, after).changes]


@pytest.mark.parametrize("platform", DeploymentPlatform)
def test_the_same_rendering_differs_in_nothing_and_leaves_no_way_out(platform):
    assert not compare(rendered(platform), rendered(platform))
    assert ways_out(rendered(platform)) == frozenset()


def test_figures_are_told_by_their_names():
    told = words(
        rendered(), rendered(KUBERNETES, "replicas.minimum=4", "memory_mib=2048", "processors=9")
    )
    assert "replicas at least 2 → 4" in told
    assert "replicas at most 20 → 40" in told
    assert "memory limit 896 MiB → 2048 MiB" in told
    assert "processors at most 3 → 9" in told


def test_a_chart_is_compared_by_its_values():
    helm = DeploymentPlatform.HELM
    told = words(rendered(helm), rendered(helm, "replicas.maximum=7"))
    assert told == ["autoscaling maxReplicas 20 → 7"]


def test_another_place_is_told_for_every_platform():
    for platform in DeploymentPlatform:
        told = "\n".join(words(rendered(platform, where="sa"), rendered(platform, where="sg")))
        assert "aws/ap-southeast-1" in told
        assert "registry.example.sa/ml/filetype@sha256" in told


@pytest.mark.parametrize(
    ("platform", "file", "old", "new", "opened"),
    [
        (KUBERNETES, POLICY, b"egress: []", b"egress: [{}]", "everywhere"),
        (KUBERNETES, POLICY, b"egress: []",
         b"egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}]",
         "addresses 203.0.113.0/24, port 443"),
        (KUBERNETES, POLICY, b"    - Egress\n", b"", "everywhere: no network policy closes it"),
        (DeploymentPlatform.HELM, "templates/networkpolicy.yaml", b"egress: []",
         b"egress: [{to: [{namespaceSelector: {matchLabels: {a: b}}}]}]", "namespaces with a=b"),
        (DeploymentPlatform.COMPOSE, "compose.yaml", b"internal: true", b"internal: false",
         "server: the network inside leads outside"),
        (DeploymentPlatform.COMPOSE, "compose.yaml", b"enable_ip_masquerade: \"false\"",
         b"enable_ip_masquerade: \"true\"", "door: the network door leads outside"),
        (DeploymentPlatform.QUADLET, "filetype-de-x86-64-v3.container", b"Network=none",
         b"Network=host", "filetype-de-x86-64-v3.container: the network host"),
        (DeploymentPlatform.QUADLET, "filetype-de-x86-64-v3.container", b"Network=none\n", b"",
         "filetype-de-x86-64-v3.container: podman's default network"),
    ],
)  # fmt: skip
def test_a_way_out_is_told_in_words(platform, file, old, new, opened):
    before = rendered(platform)
    assert old in before[file]
    after = {**before, file: before[file].replace(old, new)}
    found = compare(before, after)
    assert opened in found.opened
    assert found.closed == ()
    assert opened in compare(after, before).closed
