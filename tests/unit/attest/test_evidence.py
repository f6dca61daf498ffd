"""The bill of materials and the provenance: valid, complete, reproducible, and without secrets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from built_targets import optimized
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from small_release import ENVIRONMENT, EPOCH, LOCK_DIGEST, build_targets

from packager import __version__
from packager.attest import purl
from packager.attest.provenance import slsa_provenance
from packager.attest.sbom import cyclonedx
from packager.attest.spdx import spdx
from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest
from packager.domain.lock import LockedPackage, LockedWheel
from packager.domain.model import Metric, ModelFile, Quality
from packager.oci.layer import LayerStore


@pytest.fixture
def built(tmp_path):
    request, (target, _) = build_targets(LayerStore(tmp_path / "store", EPOCH))
    samples = tmp_path / "private" / "samples.npz"
    samples.parent.mkdir()
    samples.write_bytes(b"samples")
    return target, replace(request, samples=samples, model_path=tmp_path / "private/model.onnx")


def bom_of(built, epoch=EPOCH) -> dict:
    return cyclonedx(*built, ENVIRONMENT, epoch)


def provenance_of(built) -> dict:
    return slsa_provenance(*built, ENVIRONMENT, LOCK_DIGEST, EPOCH, "0.1.0")


def component(bom: dict, reference: str) -> dict:
    return next(part for part in bom["components"] if part["bom-ref"] == reference)


def errors_of(bom: dict):
    validator = JsonStrictValidator(SchemaVersion.from_version("1.6"))
    return validator.validate_str(json.dumps(bom))


def test_valid_by_the_strict_schema(built):
    assert errors_of(bom_of(built)) is None


def test_the_validator_looks_at_the_model_card(built):
    """The test above is worth something: a field that does not exist is refused."""
    bom = bom_of(built)
    component(bom, "model")["modelCard"]["modelParameters"]["bogus"] = 1
    assert errors_of(bom) is not None


@pytest.mark.parametrize(
    "license_name", [None, "Apache-2.0", "Apache-2.0 OR MIT", "BSD", "see (x)"]
)
def test_valid_with_every_kind_of_licence_and_without_samples(built, license_name):
    target, request = built
    asked = replace(request, samples=None, model_license=license_name)
    bom = cyclonedx(target, asked, ENVIRONMENT, EPOCH)
    assert errors_of(bom) is None
    assert "samples" not in json.dumps([part["bom-ref"] for part in bom["components"]])


def test_an_untouched_model_has_no_ancestors(built):
    target, request = built
    bom = cyclonedx(replace(target, model=optimized()), request, ENVIRONMENT, EPOCH)
    assert errors_of(bom) is None
    assert "pedigree" not in component(bom, "model")
    assert "quantitativeAnalysis" not in component(bom, "model")["modelCard"]


def test_the_model_with_hash_licence_signature_quality_and_ancestor(built):
    model = component(bom_of(built), "model")
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": Digest.of(b"shipped").hex}]
    assert model["licenses"] == [{"expression": "Apache-2.0"}]
    card = model["modelCard"]
    assert card["modelParameters"]["inputs"] == [{"format": "x: INT32[?,2048]"}]
    assert card["modelParameters"]["outputs"] == [{"format": "scores: FP32[?,214]"}]
    metrics = {it["type"]: it for it in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert metrics["top1_agreement"]["value"] == "0.998"
    assert metrics["top1_agreement"]["confidenceInterval"] == {"lowerBound": "0.995"}
    assert metrics["latency_p50_ms"] == {
        "type": "latency_p50_ms",
        "value": "1.25",
        "slice": "measured on a test machine",
    }
    (ancestor,) = model["pedigree"]["ancestors"]
    assert ancestor["hashes"] == [{"alg": "SHA-256", "content": Digest.of(b"source").hex}]
    assert "quantize_dynamic" in model["pedigree"]["notes"]


def test_what_lies_beside_the_model_is_listed_with_its_hash(built, tmp_path):
    target, request = built
    names = ("tokenizer.json", "draft/model.onnx", "chat_template.jinja")
    files = tuple(
        ModelFile(name, tmp_path / "x", Digest.of(name.encode()), len(name)) for name in names
    )
    model = replace(target.model, accompanying=files)
    bom = cyclonedx(replace(target, model=model), request, ENVIRONMENT, EPOCH)
    assert errors_of(bom) is None
    for name in names:
        found = component(bom, f"beside/{name}")
        assert found["hashes"] == [{"alg": "SHA-256", "content": Digest.of(name.encode()).hex}]
        assert found["bom-ref"] in bom["dependencies"][0]["dependsOn"]
    assert component(bom, "beside/draft/model.onnx")["type"] == "machine-learning-model"
    listed = {package["name"]: package for package in spdx(bom)["packages"]}
    assert all(listed[name]["checksums"] for name in names)


def test_an_error_is_bounded_from_above(built):
    target, request = built
    quality = Quality(Metric.MAX_ABS, 0.01, 0.02, 10)
    *others, chosen = target.model.candidates
    model = replace(target.model, candidates=(*others, replace(chosen, quality=quality)))
    bom = cyclonedx(replace(target, model=model), request, ENVIRONMENT, EPOCH)
    first, *_ = component(bom, "model")["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert first["confidenceInterval"] == {"upperBound": "0.02"}
    assert errors_of(bom) is None


def test_packages_and_wheels_with_their_names_and_hashes(built):
    bom = bom_of(built)
    libc = component(bom, "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64")
    assert libc["hashes"][0]["content"] == Digest.of(b"libc6").hex
    assert libc["licenses"] == [{"license": {"name": "LGPL"}}]
    assert component(bom, "pkg:pypi/onnx-runtime@1.26.0")["version"] == "1.26.0"
    assert component(bom, "pkg:deb/debian/tzdata@1:2025b-4?arch=all")


def test_each_tool_is_named_once(built):
    tools = [tool["name"] for tool in bom_of(built)["metadata"]["tools"]["components"]]
    assert tools == ["onnxruntime", "packager"]


def test_every_reference_is_of_a_component(built):
    bom = bom_of(built)
    known = [part["bom-ref"] for part in bom["components"]] + ["image"]
    assert len(known) == len(set(known))
    for dependency in bom["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= set(known)


def test_reproducible_and_bound_to_the_content(built):
    target, request = built
    first = bom_of(built)
    assert dumps(first) == dumps(bom_of(built))
    assert first["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    later = bom_of(built, SourceDateEpoch(EPOCH.seconds + 1))
    renamed = cyclonedx(target, replace(request, version="2.0.0"), ENVIRONMENT, EPOCH)
    assert len({bom["serialNumber"] for bom in (first, later, renamed)}) == 3


def test_the_image_with_its_digest_and_layers(built):
    target, _ = built
    subject = bom_of(built)["metadata"]["component"]
    assert subject["hashes"][0]["content"] == target.image.manifest.digest.hex
    assert subject["purl"].startswith(
        f"pkg:oci/filetype@sha256%3A{target.image.manifest.digest.hex}"
    )
    properties = {it["name"]: it["value"] for it in subject["properties"]}
    for layer in target.image.layers:
        assert properties[f"packager:layer.{layer.kind}"] == str(layer.diff_id)


def test_provenance_records_the_optimization_and_its_materials(built):
    target, _ = built
    definition = provenance_of(built)["buildDefinition"]
    optimization = definition["internalParameters"]["optimization"]
    assert optimization["source"]["digest"]["sha256"] == target.model.source.digest.hex
    assert optimization["result"]["digest"]["sha256"] == target.model.model.digest.hex
    assert optimization["chosen"]["passes"] == ["quantize_dynamic"]
    assert optimization["chosen"]["measurement"]["speedup"] == 1.75
    assert optimization["chosen"]["quality"]["value"] == 0.998
    assert optimization["tools"] == {"onnxruntime": "1.26.0", "packager": __version__}
    assert optimization["where"] == "measured on a test machine"
    assert len(optimization["considered"]) == 2
    materials = {it["name"]: it["digest"]["sha256"] for it in definition["resolvedDependencies"]}
    assert materials == {
        "model/model.onnx": Digest.of(b"source").hex,
        "samples.npz": Digest.of(b"samples").hex,
        "packager.lock": LOCK_DIGEST.hex,
        "libc6": Digest.of(b"libc6").hex,
        "tzdata": Digest.of(b"tz").hex,
        "numpy.whl": Digest.of(b"numpy").hex,
        "ort.whl": Digest.of(b"ort").hex,
    }
    assert definition["externalParameters"]["target"] == "de/x86-64-v3/kubernetes"
    assert definition["externalParameters"]["sourceDateEpoch"] == EPOCH.seconds


def test_provenance_is_reproducible_and_its_id_follows_its_content(built):
    target, request = built
    assert dumps(provenance_of(built)) == dumps(provenance_of(built))
    other = provenance_of((target, replace(request, version="2.0.0")))
    ids = {it["runDetails"]["metadata"]["invocationId"] for it in (provenance_of(built), other)}
    assert len(ids) == 2


def test_no_path_of_the_builder_is_told(built):
    _, request = built
    for document in (bom_of(built), provenance_of(built)):
        assert str(request.samples.parent) not in json.dumps(document)


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("libstdc++6", "14.2.0-19", "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64"),
        ("a", "1:2~rc1+b2", "pkg:deb/debian/a@1:2~rc1%2Bb2?arch=amd64"),
    ],
)
def test_package_urls_of_debian(name, version, expected):
    assert purl.debian(LockedPackage(name, version, "amd64", "", Digest.of(b""), 0)) == expected


def test_package_urls_of_python_are_normalized():
    wheel = LockedWheel("Ruamel.Yaml_X", "1.0+cu12", "", Digest.of(b""), 0)
    assert purl.wheel(wheel) == "pkg:pypi/ruamel-yaml-x@1.0%2Bcu12"


# --- SPDX


def spdx_of(built) -> dict:
    return spdx(bom_of(built))


def spdx_errors(document: dict) -> list[str]:
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    parsed = JsonLikeDictParser().parse(document)
    return [message.validation_message for message in validate_full_spdx_document(parsed)]


def test_spdx_is_valid_by_its_own_library(built):
    assert spdx_errors(spdx_of(built)) == []


def test_the_spdx_validator_looks(built):
    document = spdx_of(built)
    document["packages"][0]["licenseDeclared"] = "No-Such-Licence-1.0"
    assert spdx_errors(document) != []


def test_spdx_says_what_cyclonedx_says(built):
    bom, document = bom_of(built), spdx_of(built)
    packages = {package["name"]: package for package in document["packages"]}
    for part in bom["components"]:
        if "purl" in part:
            reference = packages[part["name"]]["externalRefs"][0]["referenceLocator"]
            assert reference == part["purl"]
            checksum = packages[part["name"]]["checksums"][0]["checksumValue"]
            assert checksum == part["hashes"][0]["content"]
    kinds = {entry["relationshipType"] for entry in document["relationships"]}
    assert kinds == {"DESCRIBES", "CONTAINS", "DEPENDS_ON", "GENERATED_FROM", "DATA_FILE_OF"}
    assert spdx_of(built) == document
