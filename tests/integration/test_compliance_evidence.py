"""The compliance report of a real release: what it names is there, by the digest that it gives."""

from __future__ import annotations

import hashlib
import json


def test_every_digest_in_the_report_exists_in_the_release(release):
    record = json.loads((release.folder / "evidence" / "compliance.json").read_text())
    sealed = {one["path"]: one["digest"] for one in release.document["files"]}
    named = {
        name
        for target in record["targets"]
        for decision in target["decisions"]
        for name in decision["by"]
    }
    assert named - {"release.json"} == set(record["evidence"])
    assert len(named) > 8
    page = (release.folder / "evidence" / "compliance.html").read_text()
    for name, digest in record["evidence"].items():
        found = hashlib.sha256((release.folder / name).read_bytes()).hexdigest()
        assert digest == f"sha256:{found}" == sealed[name]
        assert digest in page


def test_the_oscal_documents_are_sealed_and_carry_the_same_digests(release):
    record = json.loads((release.folder / "evidence" / "compliance.json").read_text())
    sealed = {one["path"] for one in release.document["files"]}
    for name in ("catalog", "component-definition", "assessment-results"):
        assert f"evidence/oscal/{name}.json" in sealed
    results = json.loads((release.folder / "evidence/oscal/assessment-results.json").read_text())
    folder = release.folder / "evidence" / "oscal"
    seen = 0
    for result in results["assessment-results"]["results"]:
        for observation in result["observations"]:
            for evidence in observation.get("relevant-evidence", []):
                assert (folder / evidence["href"]).is_file()
                if digest := evidence.get("props"):
                    assert digest[0]["value"] == record["evidence"][evidence["description"]]
                    seen += 1
    assert seen > 20


def test_what_was_declared_stands_under_the_signature(release):
    declared = release.document["declared"]
    assert set(declared) == {
        "sites",
        "registry_countries",
        "hosting_certifications",
        "model_origin",
        "log_region",
        "key_location",
        "telemetry_region",
        "transfers",
        "base",
    }
