"""Answers that follow a grammar end, whatever the model would rather say."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_decoder import save_tokenizer

from packager.runtime.generative.constraints import AVAILABLE, Constraints

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="llguidance is not installed")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"enum": ["p"]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("character", [" ", "\n", "\t"])
def test_a_json_text_has_room_to_indent_and_no_more(tmp_path: Path, character: str) -> None:
    """A model that would write spaces for ever is told to go on."""
    tokenizer = save_tokenizer(tmp_path / "tokenizer.json")
    settings: Any = SimpleNamespace(vocabulary=tokenizer.get_vocab_size(), end_tokens=(0,))
    constraints = Constraints(tmp_path / "tokenizer.json", settings)
    constraint = constraints.make({"json_schema": SCHEMA | {"x-guidance": {}}})
    assert constraint is not None
    (space,) = tokenizer.encode(character).ids
    said: list[int] = []
    while len(said) < 400:
        allowed = constraint.allowed()
        assert allowed is not None
        said.append(space if allowed[space] else int(allowed.argmax()))
        if constraint.took(said[-1]):
            break
    text = tokenizer.decode(said)
    assert "".join(text.split()) == '{"a":"p"}'
    assert {len(run) for run in re.findall(r"\s+", text)} == {32}
