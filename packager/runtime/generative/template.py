"""Chat templates: the model maker's own text around the messages, rendered in a sandbox.

A template is a program that came with the model. It runs in Jinja2's immutable sandbox, sees the
messages alone, and its result is bounded. It is written for what transformers gives templates
(`apply_chat_template`): loop controls, `tojson` that leaves text as it is, `raise_exception`,
`strftime_now`, and a `generation` block that means nothing here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import RequestError

MOST_CHARACTERS = 4 << 20


class ChatTemplate:
    """A compiled template; raises ValueError when it is none."""

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateError

        environment = _environment()
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ValueError(f"the chat template cannot be read: {error}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        special: Mapping[str, str],
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The prompt of a conversation; raises RequestError (400) when the template says no."""
        try:
            text: str = self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=True, **special
            )
        except Exception as error:  # whatever a program of the model's maker raises
            # The message is the template's own: it names roles, not what was said.
            raise RequestError(400, "the model's chat template refuses the messages") from error
        if len(text) > MOST_CHARACTERS:
            raise RequestError(413, "the conversation is too long")
        return text


def _environment() -> Any:
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}…{% endgeneration %}`: what the model said, marked for its training."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja2 declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "strftime_now": time.strftime}
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja2's own escapes what HTML would read, and sorts: no model has learnt that."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
