"""From a request to a plan: profiles looked up, references made, strangers told."""

from pathlib import Path

import pytest

from packager.canonical import SourceDateEpoch
from packager.catalogue import load_catalogue
from packager.domain.release import ReleaseRequest
from packager.domain.target import DeploymentPlatform, Region
from packager.errors import InputError
from packager.plan import make_plan
from packager.release import ModelOptions, request_for_model

EPOCH = SourceDateEpoch(0)


def request(jurisdiction: str = "de", hardware: str = "x86-64-v3", **options) -> ReleaseRequest:
    regions = (Region("aws", "eu-central-1"),)
    chosen = ModelOptions(jurisdiction, hardware, DeploymentPlatform.KUBERNETES, regions, **options)
    return request_for_model(Path("model.onnx"), chosen)


def test_a_target_gets_its_profiles_and_its_reference():
    plan = make_plan(
        request(registry="registry.example.de/ml", version="1.2.0"), load_catalogue(), EPOCH
    )
    (target,) = plan.targets
    assert target.jurisdiction.parents == ("eu",)
    assert target.hardware.execution_provider == "CPUExecutionProvider"
    assert target.reference == "registry.example.de/ml/model:1.2.0-de-x86-64-v3-kubernetes"


def test_without_a_registry_no_public_one_is_meant():
    (target,) = make_plan(request(), load_catalogue(), EPOCH).targets
    assert target.reference.startswith("localhost/")


def test_all_unknown_profiles_are_told_at_once_with_the_nearest_names():
    two = request("dee", "x86-64-v4")
    with pytest.raises(InputError) as caught:
        make_plan(two, load_catalogue(), EPOCH)
    told = " ".join(str(finding.as_dict()) for finding in caught.value.findings)
    assert "dee" in told
    assert "'de'" in told


def test_a_registry_for_nobody_is_told():
    import dataclasses

    lost = dataclasses.replace(request(), registries={"fr": "registry.example.fr/ml"})
    with pytest.raises(InputError) as caught:
        make_plan(lost, load_catalogue(), EPOCH)
    assert "'fr'" in caught.value.findings[0].what
