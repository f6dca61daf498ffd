"""Chat templates: the model maker's own text around the messages, rendered in a sandbox.

A template is a program that came with the model. It runs in Jinja2's immutable sandbox, sees the
messages alone, and its result is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import RequestError

MOST_CHARACTERS = 4 << 20


class ChatTemplate:
    """A compiled template; raises ValueError when it is none."""

    def __init__(self, source: str) -> None:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        self._errors: tuple[type[Exception], ...] = (TemplateError, TypeError, ValueError)
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
            text = self._template.render(
                messages=messages, tools=tools or None, add_generation_prompt=True, **special
            )
        except self._errors as error:
            # The message is the template's own: it names roles, not what was said.
            raise RequestError(400, "the model's chat template refuses the messages") from error
        if len(text) > MOST_CHARACTERS:
            raise RequestError(413, "the conversation is too long")
        return text


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
