"""What only the user knows, as written in release.yaml: read whole, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.domain.release import BaseImage
from packager.errors import InputError
from packager.release import read_release

HEAD = """\
apiVersion: packager/v1
kind: Release
metadata: {name: a, version: "1"}
model: {path: model.onnx}
targets:
  - {jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [aws/us-east-1]}
"""
DIGEST = "sha256:" + "a" * 64


def written(folder: Path, text: str) -> Path:
    file = folder / "release.yaml"
    file.write_text(HEAD + text)
    return file


def test_nothing_said_is_nothing_held(tmp_path: Path) -> None:
    request = read_release(written(tmp_path, ""))
    assert request.declared.transfers == ()
    assert request.declared.telemetry_region is None
    assert request.base == BaseImage()
    assert str(request.base) == "none, built from nothing"


def test_a_transfer_a_base_and_a_sink(tmp_path: Path) -> None:
    request = read_release(
        written(
            tmp_path,
            f"""\
base: {{reference: "registry.example.de/base@{DIGEST}", origin: DE}}
telemetry: {{region: site/ops}}
transfers:
  - mechanism: eu/dpf
    to: [US, US]
    recipient: Example Inc.
    document: entry in the list of participants
    dated: 2026-05-12
""",
        )
    )
    assert request.base.digest == DIGEST
    assert request.base.origin == "DE"
    assert str(request.declared.telemetry_region) == "site/ops"
    (held,) = request.declared.transfers
    assert (held.mechanism, held.to, held.dated) == ("eu/dpf", ("US",), "2026-05-12")
    assert held.where.endswith("release.yaml:10: transfers[0]")


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("{mechanism: dpf, to: [US], recipient: a, document: b, dated: 2026-05-12}", "mechanism"),
        ("{mechanism: eu/dpf, to: [usa], recipient: a, document: b, dated: 2026-05-12}", "to"),
        ("{mechanism: eu/dpf, to: [], recipient: a, document: b, dated: 2026-05-12}", "to"),
        ("{mechanism: eu/dpf, to: [US], document: b, dated: 2026-05-12}", "recipient"),
        ("{mechanism: eu/dpf, to: [US], recipient: a, document: b, dated: 2026-02-30}", "dated"),
    ],
)
def test_a_transfer_is_told_by_its_key(tmp_path: Path, entry: str, what: str) -> None:
    test_what_is_wrong_is_told_by_its_key(tmp_path, f"transfers:\n  - {entry}\n", what)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("base: {origin: DE}\n", "origin"),
        ("base: {reference: a@sha256:12}\n", "reference"),
        ("telemetry: {region: eu-central-1}\n", "region"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        read_release(written(tmp_path, text))
    assert any(finding.where and finding.where.endswith(what) for finding in caught.value.findings)


def test_a_mechanism_that_no_law_of_the_release_knows(packager, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "transfers:\n  - {mechanism: eu/dfp, to: [US], recipient: a, document: b,"
        " dated: 2026-05-12}\n",
    )
    shown = packager("check", file)
    assert shown.code == 1
    assert "did you mean 'eu/dpf'" in shown.err
    assert "release.yaml:8" in shown.err
