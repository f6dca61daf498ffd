"""Every model of a release counts for a demand on the model."""

from dataclasses import replace
from pathlib import Path

from packager.comply.deciding import decide
from packager.domain.decision import Status
from packager.domain.hardware import Precision
from packager.domain.model import NO_CONSTRAINTS, Objective, QualityBudget
from packager.domain.model_request import ModelName, ModelRequest


def beside(license_: str | None, origin: str | None = "DE") -> ModelRequest:
    return ModelRequest(
        ModelName("other", "2"), Path("o.onnx"), license_, None, QualityBudget(), Objective.LATENCY,
        None, NO_CONSTRAINTS, None, None, origin,
    )  # fmt: skip


def decisions(catalogue, asking, *others: ModelRequest, **facts):
    target, request = asking("de", ["aws/eu-central-1"], **facts)
    made = decide(target, replace(request, beside=others), catalogue.country_of)
    return {one.control: one for one in made}


def test_one_model_without_a_licence_refuses_all(catalogue, asking):
    found = decisions(catalogue, asking, beside("MIT"))["eu/model-license"]
    assert found.status is Status.EVIDENCED
    assert "model: the model is recorded under Apache-2.0" in found.why
    assert "other version 2: the model is recorded under MIT" in found.why
    refused = decisions(catalogue, asking, beside(None))["eu/model-license"]
    assert refused.status is Status.VIOLATED
    assert "other version 2: the request names no licence" in refused.why
    assert refused.remedy
    assert refused.remedy.startswith("other version 2: name it")


def test_a_format_that_the_hardware_lacks_refuses_whoever_pins_it(catalogue, asking):
    pinned = replace(beside("MIT"), precision=Precision.FP16)
    found = decisions(catalogue, asking, pinned)["hardware/precision"]
    assert found.status is Status.VIOLATED
    assert "other version 2: x86-64-v3 does not compute in fp16" in found.why


def test_the_origin_of_every_model_is_asked_for(catalogue, asking):
    known = {"facts": {"model_origin": "FR"}}
    assert decisions(catalogue, asking, beside("MIT"), **known)["target/model-origin"].status is (
        Status.EVIDENCED
    )
    open_ = decisions(catalogue, asking, beside("MIT", None), **known)["target/model-origin"]
    assert open_.status is Status.LEFT_TO_OPERATOR


def test_the_records_of_all_models_document_a_duty(catalogue, asking):
    found = decisions(catalogue, asking, beside("MIT"))["eu/ai-act-high-risk"]
    assert "evidence/quality/x86-64-v3.json" in found.by
    assert "evidence/quality/other/2/x86-64-v3.json" in found.by
