"""Calls of tools in what a model wrote.

Two ways of writing them are read: objects between `<tool_call>` tags, any number of them (Hermes,
Qwen and their kin), and an answer that is one JSON object and nothing else (Llama 3). Only a tool
that the request named is called; everything else stays the text that it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True, slots=True)
class Call:
    """A call: `arguments` is JSON, as OpenAI's clients want it."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{os.urandom(9).hex()}")

    def as_dict(self) -> dict[str, Any]:
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class ToolCalls:
    """Passes text on until it may be a call, and tells at the end which it was."""

    def __init__(self, tools: Iterable[Mapping[str, Any]]) -> None:
        self._names = {name for tool in tools if (name := _name(tool))}
        self._held = ""
        self._shown = False

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        if not self._names:
            return text
        self._held += text
        if not self._shown and self._held.lstrip()[:1] in ("", "{"):
            return ""
        at = self._held.find(OPEN)
        keep = len(self._held) - at if at >= 0 else _beginning(self._held)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        self._shown = self._shown or bool(shown.strip())
        return shown

    def finish(self) -> tuple[str, tuple[Call, ...]]:
        """What is left of the text, and the calls."""
        held, self._held = self._held, ""
        if not self._shown and held.lstrip()[:1] == "{":
            call = self._call(held)
            return ("", (call,)) if call else (held, ())
        calls: list[Call] = []
        while held.startswith(OPEN):
            inside, closed, after = held[len(OPEN) :].partition(CLOSE)
            call = self._call(inside)
            if call is None:
                return held, tuple(calls)
            calls.append(call)
            # Between two calls there are line ends, which are nobody's words.
            held = after.lstrip() if closed else ""
        return held, tuple(calls)

    def _call(self, text: str) -> Call | None:
        try:
            written = orjson.loads(text.strip())
        except orjson.JSONDecodeError:
            return None
        if not isinstance(written, dict) or written.get("name") not in self._names:
            return None
        arguments = written.get("arguments", written.get("parameters", {}))
        if not isinstance(arguments, dict):
            return None
        return Call(written["name"], orjson.dumps(arguments).decode())


def _name(tool: Mapping[str, Any]) -> str | None:
    match tool:
        case {"function": {"name": str(name)}}:
            return name
        case _:
            return None


def _beginning(text: str) -> int:
    """The length of the longest end of `text` that an opening tag begins with."""
    longest = min(len(text), len(OPEN) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(OPEN[:size])), 0)
