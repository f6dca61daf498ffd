"""A model's chat template, as the server renders it (`packager/runtime/generative/template.py`, an
island that nothing here may import; a test holds both to the same texts).

Only the clock is another one: what is packaged must not depend on the day.
"""

from __future__ import annotations

import json
import time
from typing import Any

from packager.canonical import SourceDateEpoch


def chat_template(source: str) -> Any:
    """A compiled template of Jinja2, with what transformers' `apply_chat_template` gives one."""
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - as Jinja2 declares it

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _packaged_at
    return environment.from_string(source)


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _packaged_at(form: str) -> str:
    return time.strftime(form, time.gmtime(SourceDateEpoch.from_environment().seconds))


def _refuse(message: str) -> None:
    raise ValueError(message)
