"""Calls of tools: read however the text arrives, and never made of what is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.runtime.errors import RequestError
from packager.runtime.generative.asked import read_chat
from packager.runtime.generative.tool_calls import ToolCalls

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
ONE = '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
TWO = f'{ONE}\n<tool_call>{{"name": "time", "arguments": {{}}}}</tool_call>'


def said(text: str, size: int = 10_000) -> tuple[str, list[tuple[str, str]]]:
    calls = ToolCalls(TOOLS)
    shown = "".join(calls.feed(text[at : at + size]) for at in range(0, len(text), size))
    rest, found = calls.finish()
    return shown + rest, [(call.name, call.arguments) for call in found]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_calls_between_tags(size: int) -> None:
    assert said(f"Let me see. {TWO}", size) == (
        "Let me see. ",
        [("weather", '{"city":"Köln"}'), ("time", "{}")],
    )


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answer_that_is_one_object(size: int) -> None:
    text = ' {"name": "time", "parameters": {"zone": "UTC"}}'
    assert said(text, size) == ("", [("time", '{"zone":"UTC"}')])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "format_disk", "arguments": {}}',
        '{"answer": 42}',
        "<tool_call>not json</tool_call>",
        '<tool_call>{"name": "weather", "arguments": "x"}</tool_call>',
        "a < b and <tool",
        "{ not closed",
    ],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    assert said(text) == said(text, 1) == (text, [])


def test_without_tools_nothing_is_held_back() -> None:
    calls = ToolCalls([])
    assert calls.feed(ONE) == ONE
    assert calls.finish() == ("", ())


@given(st.text(alphabet='<>{}"tool_cal/ :,x', max_size=60), st.integers(1, 9))
def test_the_pieces_in_which_text_comes_do_not_matter(text: str, size: int) -> None:
    assert said(text, size) == said(text)


def test_earlier_calls_reach_the_template_as_objects() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "time", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
    ]
    asked = read_chat(json.dumps({"model": "chat", "messages": messages}).encode())
    assert asked.messages[1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    call["function"] = {"name": "time", "arguments": "{"}
    with pytest.raises(RequestError, match="must be JSON"):
        read_chat(json.dumps({"model": "chat", "messages": messages}).encode())
