"""Prompts: read line by line, split by their content."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_folder import save_prompts

from packager.errors import InputError
from packager.optimize.text.prompts import read_prompts


def test_texts_and_chats(tmp_path: Path) -> None:
    prompts = read_prompts(save_prompts(tmp_path / "p.jsonl", 40))
    assert len(prompts.golden) == 4
    assert len(prompts.judging) == 36
    assert {type(one) for one in prompts.judging} == {str, list}
    assert [use.purpose for use in prompts.uses()] == ["evaluation", "golden"]


def test_lines_of_a_text_file_are_prompts(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\n two \none\n")
    prompts = read_prompts(tmp_path / "p.txt")
    assert sorted((*prompts.golden, *prompts.judging)) == ["one", "two"]  # type: ignore[type-var]


def test_the_split_depends_on_the_content_alone(tmp_path: Path) -> None:
    one = save_prompts(tmp_path / "one.jsonl", 30)
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(reversed(one.read_text().splitlines())))
    assert read_prompts(one) == read_prompts(other)


def test_nobody_gave_any() -> None:
    prompts = read_prompts(None)
    assert prompts.synthetic
    assert not prompts.judging


def test_every_line_that_is_no_prompt_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "fine"}\n{"prompt": ""}\nnot json\n{"messages": [{"role": 1}]}\n')
    with pytest.raises(InputError) as refused:
        read_prompts(file)
    assert [one.where for one in refused.value.findings] == [f"{file}:{n}" for n in (2, 3, 4)]


@given(st.binary(max_size=200))
def test_whatever_the_file_holds_it_is_read_or_refused(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "p.jsonl"
        file.write_bytes(data)
        try:
            prompts = read_prompts(file)
        except InputError:
            return
        assert prompts.golden
