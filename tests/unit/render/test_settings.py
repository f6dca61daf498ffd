"""`--set`: a few figures, and nothing that holds the residency."""

from __future__ import annotations

import pytest
import yaml
from built_targets import sample_target

from packager.domain.target import DeploymentPlatform
from packager.errors import InputError
from packager.render.rendering import render_target
from packager.render.settings import Settings, parse_settings


def test_names_are_written_with_dots_dashes_or_underscores():
    written = ["replicas.minimum=3", "memory-mib=4096", "prometheus_namespace=watch"]
    assert parse_settings(written) == Settings(
        replicas_minimum=3, memory_mib=4096, prometheus_namespace="watch"
    )


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(InputError) as caught:
        parse_settings(["memory_mb=1", "image=evil:1", "processors=0", "processors", "x=1"])
    told = [finding.what for finding in caught.value.findings]
    assert len(told) == 5
    assert caught.value.findings[0].next_step == "did you mean memory_mib?"
    assert caught.value.findings[2].got == "0"


@pytest.mark.parametrize(
    "pairs",
    [
        ["replicas.minimum=5", "replicas.maximum=2"],
        ["processors=1", "processors=2"],
        ["prometheus_url=http://a b"],
        ["prometheus_url=file:///etc/passwd"],
        ["prometheus_namespace=A B"],
        ["memory_mib=-1"],
    ],
)
def test_what_makes_no_sense_is_refused(pairs):
    with pytest.raises(InputError):
        parse_settings(pairs)


def test_what_is_set_is_what_is_rendered():
    settings = parse_settings(
        ["replicas.minimum=3", "replicas.maximum=7", "memory_mib=4096", "processors=8",
         "prometheus_url=https://prom.watch.svc:9090"]
    )  # fmt: skip
    built, request = sample_target("de", "x86-64-v3", DeploymentPlatform.KUBERNETES)
    files = render_target(built, request, settings=settings)
    spec = yaml.safe_load(files["base/horizontalpodautoscaler.yaml"])["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 7)
    pod = yaml.safe_load(files["base/deployment.yaml"])["spec"]["template"]["spec"]
    limits = pod["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": 8, "memory": 4096 << 20}
    scaled = yaml.safe_load(files["overlays/keda/scaledobject.yaml"])["spec"]
    assert scaled["triggers"][0]["metadata"]["serverAddress"] == "https://prom.watch.svc:9090"
    assert b"estimated" not in files["README.md"]


def test_a_lower_bound_alone_moves_the_upper_one_and_the_other_way_round():
    def bounds(*pairs):
        built, request = sample_target("de", "x86-64-v3", DeploymentPlatform.KUBERNETES)
        files = render_target(built, request, settings=parse_settings(pairs))
        spec = yaml.safe_load(files["base/horizontalpodautoscaler.yaml"])["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    assert bounds("replicas_minimum=5") == (5, 50)
    assert bounds("replicas_maximum=1") == (1, 1)
