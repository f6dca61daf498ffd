"""Rendered targets against golden files, compared as documents.

One golden file holds all files of one target: manifests as documents, prose as text. After a
change that is meant, write them again with `python tests/golden/render/rewrite.py`, and read
the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from golden_targets import TARGETS, as_documents, golden_name

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("target", TARGETS, ids=golden_name)
def test_a_target_is_rendered_as_its_golden_file_says(target):
    golden = yaml.safe_load((FOLDER / f"{golden_name(target)}.yaml").read_text(encoding="utf-8"))
    assert as_documents(target) == golden


def test_there_is_no_golden_file_without_a_target():
    kept = {path.stem for path in FOLDER.glob("*.yaml")}
    assert kept == {golden_name(target) for target in TARGETS}
