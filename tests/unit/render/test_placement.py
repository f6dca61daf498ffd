"""Where a pod may run."""

from __future__ import annotations

import dataclasses

import pytest
from built_targets import HARDWARE, build_target, jurisdiction, release_request

from packager.domain.target import DeploymentPlatform, Region
from packager.errors import InputError
from packager.render.placement import JURISDICTION_LABEL, PROVIDER_LABEL, SITE_LABEL, places

REGION = "topology.kubernetes.io/region"


def planned(*regions: str, place: str = "ae", machine: str = "x86-64-v3"):
    parsed = tuple(Region.parse(region) for region in regions)
    built = build_target(
        release_request(),
        jurisdiction(place, place, parsed),
        HARDWARE[machine],
        DeploymentPlatform.KUBERNETES,
        regions=parsed,
    )
    return built.plan


def required(place) -> dict[str, str]:
    return {label.key: label.value for label in place.labels}


def test_the_same_label_of_two_providers_is_told_apart():
    aws, alibaba = places(planned("aws/me-central-1", "alibaba/me-central-1"))[::-1]
    assert required(aws)[REGION] == required(alibaba)[REGION] == "me-central-1"
    assert required(aws)[PROVIDER_LABEL] == "aws"
    assert required(alibaba)[PROVIDER_LABEL] == "alibaba"


def test_every_place_asks_for_the_administrators_word():
    for target in (planned("aws/x"), planned("site/lab"), planned()):
        for place in places(target):
            assert required(place)[JURISDICTION_LABEL] == "ae"


def test_what_the_administrator_states_cannot_be_set_by_a_kubelet():
    labels = {label for place in places(planned("aws/x", "site/lab")) for label in place.labels}
    stated = [label.key for label in labels if label.set_by == "administrator"]
    assert {PROVIDER_LABEL, SITE_LABEL, JURISDICTION_LABEL} == set(stated)
    assert all(key.partition("/")[0].endswith(".node-restriction.kubernetes.io") for key in stated)


def test_a_room_of_the_users_own_is_named_and_needs_no_provider():
    (place,) = places(planned("site/riyadh-lab"))
    assert required(place)[SITE_LABEL] == "riyadh-lab"
    assert REGION not in required(place)


def test_the_hardware_is_part_of_every_place():
    for place in places(planned("aws/a", "aws/b", machine="nvidia-l4")):
        assert required(place)["nvidia.com/gpu.product"] == "NVIDIA-L4"
        assert required(place)["kubernetes.io/arch"] == "amd64"


def test_the_declared_architecture_wins_over_the_profiles_label():
    target = planned("aws/a", machine="arm64-v8")
    wrong = dataclasses.replace(target.hardware, node_labels={"kubernetes.io/arch": "amd64"})
    (place,) = places(dataclasses.replace(target, hardware=wrong))
    assert required(place)["kubernetes.io/arch"] == "arm64"


def test_names_that_no_label_can_hold_are_refused_all_at_once():
    with pytest.raises(InputError) as caught:
        places(planned("site/my lab", "aws/eu_"))
    assert [finding.got for finding in caught.value.findings] == ["'my lab'", "'eu_'"]
    assert all(finding.where == "release.yaml: targets[0]" for finding in caught.value.findings)
