"""Chat templates as model makers write them: what the packager renders is what the server renders.

The expected texts are those that `transformers` 5.24 gives (`apply_chat_template`).
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from packager.optimize.text.templates import chat_template
from packager.runtime.errors import RequestError
from packager.runtime.generative.template import ChatTemplate

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": " it's <b> é"},
    {"role": "assistant", "content": "<think>so</think>\nyes"},
]
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "f<é>'", "b": 1, "a": 2}}]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
LLAMA = (
    "{{- bos_token }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] +"
    " '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{%- endif %}"
)
CASES = {
    "tools are JSON as they were given": (
        "{% for tool in tools %}{{ tool | tojson }}{% endfor %}",
        '{"type": "function", "function": {"name": "f<é>\'", "b": 1, "a": 2}}',
    ),
    "with an indent": ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
    "with separators": ('{{ {"a": 1} | tojson(separators=(",", ":")) }}', '{"a":1}'),
    "loop controls": (
        "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
        "user",
    ),
    "what the model said, marked": (
        "{% for m in messages %}{% generation %}{{ m.role }},{% endgeneration %}{% endfor %}",
        "user,assistant,",
    ),
    "blocks leave no lines": ("{% if true %}\n  a\n    {% endif %}\nb", "  a\nb"),
    "namespaces, slices and methods": (
        "{% set ns = namespace(last='') %}{% for m in messages[::-1] %}"
        "{% set ns.last = m.content.split('</think>')[-1].lstrip('\\n') %}{{ ns.last }}|"
        "{% endfor %}{{ ns.last is string }}{{ tools is iterable }}",
        "yes| it's <b> é|TrueTrue",
    ),
    "Llama's form": (
        LLAMA,
        "<s><|start_header_id|>user<|end_header_id|>\n\nit's <b> é<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n<think>so</think>\nyes<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "what is not given is not there": (
        "{% if enable_thinking is defined %}a{% endif %}{{ unknown }}b",
        "b",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_both_render_what_transformers_does(case: str) -> None:
    source, expected = CASES[case]
    assert ChatTemplate(source).render(MESSAGES, SPECIAL, TOOLS) == expected
    rendered = chat_template(source).render(
        messages=MESSAGES, tools=TOOLS, add_generation_prompt=True, **SPECIAL
    )
    assert rendered == expected


def test_the_day_is_the_server_s_own_and_the_packager_s_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    source = "{{ strftime_now('%d %b %Y') }}"
    days = {time.strftime("%d %b %Y")}
    days |= {ChatTemplate(source).render(MESSAGES, SPECIAL), time.strftime("%d %b %Y")}
    assert len(days) <= 2
    assert chat_template(source).render() == "01 Jan 2026"


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content.nothing.more }}",
        "{{ ''.__class__.__mro__ }}{{ ().__class__.__base__.__subclasses__() }}",
        "{% for a in range(10000000) %}{% endfor %}",
        "{{ messages.append(1) }}",
    ],
)
def test_what_a_template_refuses_or_may_not_is_a_400(source: str) -> None:
    with pytest.raises(RequestError, match="refuses the messages") as refused:
        ChatTemplate(source).render(MESSAGES, SPECIAL)
    assert refused.value.status == 400


def test_what_is_no_template_is_said_at_the_start() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        ChatTemplate("{% for %}")
