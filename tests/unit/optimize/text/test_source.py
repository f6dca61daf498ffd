"""Where a folder keeps its chat template, as tokenizers of several years wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from packager.errors import InputError
from packager.optimize.text.source import chat_template


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("{{ messages }}", "{{ messages }}"),
        ([{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        ([{"name": "tool_use", "template": "a"}], None),
        (None, None),
    ],
)
def test_in_the_tokenizer_s_configuration(tmp_path: Path, told: Any, expected: str | None) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": told}))
    assert chat_template(tmp_path) == expected


def test_a_file_of_its_own_goes_before(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    (tmp_path / "chat_template.jinja").write_text("new")
    assert chat_template(tmp_path) == "new"


@pytest.mark.parametrize("text", ["[]", "{", '{"chat_template": [1]}', '{"chat_template": [{}]}'])
def test_what_is_no_configuration_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(InputError, match="the chat template cannot be read"):
        chat_template(tmp_path)
