"""The bills of materials of the real example release pass CycloneDX's own strict validator."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from packager.digest import Digest

pytestmark = pytest.mark.network


def test_every_bill_of_materials_is_valid_and_names_what_is_in_the_release(release):
    validator = JsonStrictValidator(SchemaVersion.from_version("1.6"))
    for target in release.document["targets"]:
        slug = target["name"].replace("/", "-")
        text = (release.folder / "evidence" / "sbom" / f"{slug}.cdx.json").read_text()
        assert validator.validate_str(text) is None
        bom = json.loads(text)
        assert bom["metadata"]["component"]["hashes"][0]["content"] == (
            Digest.parse(target["image"]["digest"]).hex
        )
        (model,) = (part for part in bom["components"] if part["bom-ref"] == "model")
        described = {it["name"]: it["value"] for it in model["properties"]}
        assert described["packager:model.digest"] == target["model"]["digest"]
        assert model["licenses"] == [{"expression": "Apache-2.0"}]
