"""The OSCAL documents: they name each other, tell the same as the record, and keep their bytes.

Held to the JSON schemas of NIST (`tests/schemas/oscal/`), and to the models made from them where
PACKAGER_OSCAL_PYTHON names a Python with compliance-trestle
(`python3 -m venv DIR && DIR/bin/pip install compliance-trestle`).
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from packager.canonical import dumps_readable
from packager.catalogue import Catalogue
from packager.comply.deciding import decide
from packager.comply.oscal import CATALOG, COMPONENTS, RESULTS, oscal_documents
from packager.comply.report import compliance_record, evidence_named
from packager.digest import Digest
from packager.domain.artifact import Descriptor, Image, MediaType
from packager.domain.hardware import Precision
from packager.domain.model import Candidate, Model, OptimizedModel, Verdict
from packager.domain.release import BuiltTarget, PlannedTarget, ReleaseRequest

Asking = Callable[..., tuple[PlannedTarget, ReleaseRequest]]
SCHEMAS = Path(__file__).parents[2] / "schemas" / "oscal"
TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
VALIDATE = """
import sys, pathlib
from trestle.oscal.catalog import Catalog
from trestle.oscal.component import ComponentDefinition
from trestle.oscal.assessment_results import AssessmentResults
folder = pathlib.Path(sys.argv[1])
for model, name in ((Catalog, "catalog"), (ComponentDefinition, "component-definition"),
                    (AssessmentResults, "assessment-results")):
    assert model.oscal_read(folder / f"{name}.json") is not None, name
"""


@pytest.fixture(scope="module")
def record(catalogue: Catalogue, asking: Asking) -> dict[str, Any]:
    """Three jurisdictions, one of them refused: every status is in it."""
    targets = []
    for jurisdiction, region, held in (
        ("ch", "aws/us-east-1", {"ch/scc": ["US"]}),
        ("sa", "gcp/me-central2", None),
        ("fr", "aws/us-east-1", None),
    ):
        target, request = asking(jurisdiction, [region], data="health", transfers=held)
        blob = Descriptor(MediaType.MANIFEST, Digest.of(str(target.name).encode()), 2)
        model = Model((), (), (), 17, Precision.FP32)
        baseline = Candidate("baseline", Precision.FP32, Verdict.CHOSEN, "the only one", ())
        targets.append(
            BuiltTarget(
                plan=target,
                model=OptimizedModel(model, model, (baseline,), "measured here", None, 1, ()),
                image=Image(target.reference, target.hardware.platform, blob, blob, ()),
                decisions=decide(target, request, catalogue.country_of, catalogue.distance_km),
            )
        )
    digests = {name: str(Digest.of(name.encode())) for name in evidence_named(targets)}
    return compliance_record(request, targets, digests, "2026-01-01T00:00:00Z")


@pytest.fixture(scope="module")
def documents(record: dict[str, Any]) -> dict[str, Any]:
    return oscal_documents(record)


def every(value: Any, key: str) -> Iterator[Any]:
    """All values under `key`, however deep."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from every(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from every(inner, key)


def test_every_decision_is_told_in_all_three(
    record: dict[str, Any], documents: dict[str, Any]
) -> None:
    controls = {
        one["title"] for one in documents[CATALOG]["catalog"]["groups"] for one in one["controls"]
    }
    components = documents[COMPONENTS]["component-definition"]["components"]
    results = documents[RESULTS]["assessment-results"]["results"]
    assert len(record["targets"]) == len(components) == len(results) == 3
    for target, component, result in zip(record["targets"], components, results, strict=True):
        named = [one["control"] for one in target["decisions"]]
        assert set(named) <= controls
        assert [one["title"] for one in result["observations"]] == named
        requirements = component["control-implementations"][0]["implemented-requirements"]
        assert len(requirements) == len(named)
        applying = [one for one in target["decisions"] if one["status"] != "not applicable"]
        states = {one["title"]: one["target"]["status"]["state"] for one in result["findings"]}
        for one in applying:
            met = one["status"] in ("enforced", "evidenced")
            assert states[one["control"]] == ("satisfied" if met else "not-satisfied")


def test_they_name_only_what_is_there(record: dict[str, Any], documents: dict[str, Any]) -> None:
    identifiers = list(every(documents[CATALOG], "id"))
    assert all(TOKEN.fullmatch(name) for name in identifiers)
    assert len(identifiers) == len(set(identifiers))
    assert set(every(documents, "control-id")) <= set(identifiers)
    assert set(every(documents, "target-id")) <= set(identifiers)
    own = [one for name in documents for one in every(documents[name], "uuid")]
    components = {
        one["uuid"] for one in documents[COMPONENTS]["component-definition"]["components"]
    }
    assert set(every(documents, "subject-uuid")) == components
    assert set(every(documents, "observation-uuid")) <= set(own)
    # A component is the same one in both documents; everything else is named once.
    assert len(own) - len(set(own)) == len(components)


def test_every_digest_is_one_of_the_evidence(
    record: dict[str, Any], documents: dict[str, Any]
) -> None:
    found = 0
    for evidence in every(documents[RESULTS], "relevant-evidence"):
        for one in evidence:
            name = one["href"].removeprefix("../../")
            if name != "release.json":
                assert one["props"][0]["value"] == record["evidence"][name]
                found += 1
    assert found > 20


def test_the_same_record_has_the_same_bytes_and_another_one_other_names(
    record: dict[str, Any], documents: dict[str, Any]
) -> None:
    again = oscal_documents(copy.deepcopy(record))
    assert dumps_readable(again) == dumps_readable(documents)
    changed = copy.deepcopy(record)
    changed["targets"][0]["image"] = str(Digest.of(b"another"))
    others = set(every(oscal_documents(changed), "uuid"))
    assert not others & set(every(documents, "uuid"))


def validator(name: str) -> Draft7Validator:
    """The schema of NIST. Python has no `\\p{L}` and `\\p{N}`, so its token pattern is put in words
    that mean the same here."""
    schema = json.loads((SCHEMAS / f"oscal_{name}_schema.json").read_text())
    for definition in schema["definitions"].values():
        if definition.get("pattern") == r"^(\p{L}|_)(\p{L}|\p{N}|[.\-_])*$":
            definition["pattern"] = r"^[^\W\d][\w.\-]*$"
    return Draft7Validator(schema, format_checker=FormatChecker())


@pytest.mark.parametrize(
    ("name", "file", "needed"),
    [
        ("catalog", CATALOG, "metadata"),
        ("component", COMPONENTS, "metadata"),
        ("assessment-results", RESULTS, "results"),
    ],
)
def test_the_schemas_of_nist_take_them(
    documents: dict[str, Any], name: str, file: str, needed: str
) -> None:
    checked = validator(name)
    assert "oscal/1.2.3" in checked.schema["$id"]
    found = [
        f"{error.json_path}: {error.message[:200]}"
        for error in checked.iter_errors(documents[file])
    ]
    assert found == []
    broken = copy.deepcopy(documents[file])
    inner = next(iter(broken.values()))
    del inner[needed]
    assert not checked.is_valid(broken)
    inner = next(iter(copy.deepcopy(documents[file]).values()))
    inner["uuid"] = "no uuid"
    assert not checked.is_valid({next(iter(broken)): inner})


def test_the_official_models_take_them(documents: dict[str, Any], tmp_path: Path) -> None:
    python = os.environ.get("PACKAGER_OSCAL_PYTHON", "")
    if not shutil.which(python):
        if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1":
            pytest.fail("PACKAGER_OSCAL_PYTHON names no Python with compliance-trestle")
        pytest.skip("PACKAGER_OSCAL_PYTHON names no Python with compliance-trestle")

    def check() -> subprocess.CompletedProcess[str]:
        command = [python, "-c", VALIDATE, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    for name, document in documents.items():
        (tmp_path / name).write_bytes(dumps_readable(document))
    done = check()
    assert done.returncode == 0, done.stderr
    broken = copy.deepcopy(documents[RESULTS])
    del broken["assessment-results"]["results"][0]["observations"][0]["collected"]
    (tmp_path / RESULTS).write_bytes(dumps_readable(broken))
    assert check().returncode != 0, "the models took a document without a demanded field"
