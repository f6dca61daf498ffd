"""The bills of materials of the real example release pass CycloneDX's own strict validator."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

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


def test_every_digest_of_a_bill_is_of_something_in_the_image(release):
    """Layers and files are in the image, packages and wheels in the lock they were taken from."""
    blobs = release.folder / "images/blobs/sha256"
    for target in release.document["targets"]:
        slug = target["name"].replace("/", "-")
        bom = json.loads((release.folder / f"evidence/sbom/{slug}.cdx.json").read_bytes())
        manifest = json.loads((blobs / Digest.parse(target["image"]["digest"]).hex).read_bytes())
        config = json.loads((blobs / Digest.parse(manifest["config"]["digest"]).hex).read_bytes())
        layers = set(config["rootfs"]["diff_ids"])  # whatever the form that they are stored in
        named = {it["name"]: it["value"] for it in bom["metadata"]["component"]["properties"]}
        told = {value for name, value in named.items() if name.startswith("packager:layer.")}
        assert told == layers
        files = _files(blobs / Digest.parse(named["packager:layer.model"]).hex)
        by_kind = {part["bom-ref"]: part for part in bom["components"]}
        for part in (by_kind["model"], *by_kind["model"]["components"]):
            assert part["hashes"][0]["content"] in files.values(), part
        locked = _locked(release.folder)
        packages = [part for part in bom["components"] if part["type"] == "library"]
        assert len(packages) > 10
        for part in packages:
            assert part["hashes"][0]["content"] in locked, part["bom-ref"]


def _files(layer: Path) -> dict[str, str]:
    """Path → SHA-256 of the plain files of a layer, whatever its form."""
    found = {}
    with tarfile.open(layer) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isreg() else None
            if content:
                found[entry.name] = hashlib.sha256(content.read()).hexdigest()
    return found


def _locked(folder: Path) -> str:
    (lock,) = (folder / "evidence").rglob("*lock*")
    return lock.read_text()
