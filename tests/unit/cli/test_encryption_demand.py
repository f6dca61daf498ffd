"""A profile that demands an encrypted model: nothing is built in the clear, the way out is told."""

from __future__ import annotations

import pytest

from packager.attest.keys import generate_key

PROFILE = """\
apiVersion: packager/v1
kind: Jurisdiction
id: sa-sealed
name: Sealed
extends: [sa]
countries: [SA]
confidence: high
reviewed: 2026-11-23
rules:
  - id: sealed
    demand: model_encrypted
    data: [personal]
    text: Only keys held inside open the model.
    law: {name: House rule, article: '1', source: https://example.org, confidence: high}
"""


@pytest.fixture
def model(tmp_path, packager):
    """`model("check", …)`: a command about a model for that profile."""
    folder = tmp_path / "targets/jurisdictions"
    folder.mkdir(parents=True)
    (folder / "sa-sealed.yaml").write_text(PROFILE)
    (tmp_path / "model.onnx").write_bytes(b"x")

    def ask(command, *arguments):
        return packager(
            command, tmp_path / "model.onnx", "-j", "sa-sealed", "-w", "x86-64-v3",
            "-p", "compose", "--region", "alibaba/me-central-1", "--license", "Apache-2.0",
            "--targets", tmp_path / "targets", *arguments,
        )  # fmt: skip

    return ask


def test_refused_without_a_recipient_and_the_way_out_is_told(model, tmp_path):
    refused = model("check")
    assert refused.code == 3
    assert "sa-sealed/sealed" in refused.out + refused.err
    assert "--recipient" in refused.out + refused.err
    built = model("build", "--key", generate_key(tmp_path / "k.pem", None).private, "-o",
                  tmp_path / "out")  # fmt: skip
    assert built.code == 3
    assert not (tmp_path / "out").exists()


def test_with_a_recipient_the_demand_is_evidenced_by_the_provenance(model, tmp_path):
    inside = generate_key(tmp_path / "inside.pem", None)
    asked = model("check", "--recipient", inside.public, "--json")
    assert asked.code == 0
    (decisions,) = asked.json().values()
    (sealed,) = (one for one in decisions if one["control"] == "sa-sealed/sealed")
    assert sealed["status"] == "evidenced"
    assert "one key" in sealed["why"]
    assert sealed["by"] == ["evidence/provenance/sa-sealed-x86-64-v3-compose.slsa.json"]


def test_a_key_that_nothing_can_be_encrypted_for_is_told_before_any_work(model, tmp_path):
    edwards = generate_key(tmp_path / "edwards.pem", None, "ed25519")
    (tmp_path / "text.pub").write_text("a key on paper")
    done = model("check", "--recipient", edwards.public, "--recipient", tmp_path / "text.pub")
    assert done.code == 1
    assert "edwards.pub" in done.err
    assert "text.pub" in done.err
