"""Reads OpenAI's requests strictly. What is not supported is a 400 that says so, never silence.

(OpenAI API reference, "Create chat completion" and "Create completion"; `top_k`, `min_p`,
`repetition_penalty`, `ignore_eos` and `guided_regex` as in vLLM.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..errors import RequestError, quoted

MOST_STOPS, MOST_CHOICES, MOST_LOGPROBS, MOST_BIASES = 16, 16, 20, 1024
LEAST_TEMPERATURE = 1e-5
_COMMON = frozenset(
    {
        *("model", "max_tokens", "temperature", "top_p", "top_k", "min_p", "n", "stream"),
        *("stream_options", "stop", "seed", "presence_penalty", "frequency_penalty"),
        *("repetition_penalty", "logit_bias", "user", "ignore_eos", "guided_regex"),
        *("response_format", "logprobs"),
    }
)
CHAT = _COMMON | {"messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice"}
TEXT = _COMMON | {"prompt", "echo"}
_ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request after it was read: `messages` of a chat, or `prompts` of a completion (text, or
    tokens), never both. `sampling` goes to the worker as it is; `size` is the body's, in bytes."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    prompts: tuple[str | tuple[int, ...], ...]
    max_tokens: int | None
    choices: int
    stream: bool
    include_usage: bool
    stops: tuple[str, ...]
    sampling: dict[str, Any]
    grammar: dict[str, Any] | None
    tools: tuple[Mapping[str, Any], ...]
    ignore_end: bool
    size: int

    @property
    def logprobs(self) -> int | None:
        wanted: int | None = self.sampling["logprobs"]
        return wanted


def wrong(message: str, parameter: str | None = None) -> RequestError:
    """A 400 in words; `parameter` is told first."""
    return RequestError(400, f"{parameter}: {message}" if parameter else message)


def read_chat(body: bytes) -> Asked:
    """`POST /v1/chat/completions`; raises RequestError (400)."""
    fields = _Fields(body, CHAT)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("must be a list of messages", "messages")
    asked = _common(fields)
    chosen = fields.integer("top_logprobs", 0, MOST_LOGPROBS)
    if fields.flag("logprobs"):
        asked["sampling"]["logprobs"] = chosen or 0
    elif chosen is not None:
        raise wrong("needs logprobs: true", "top_logprobs")
    longest = fields.integer("max_completion_tokens", 1, 1 << 22)
    if longest is not None:
        asked["max_tokens"] = longest
    if fields.get("tool_choice") not in (None, "auto", "none"):
        raise wrong("only auto and none are supported", "tool_choice")
    tools = fields.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise wrong("must be a list of objects", "tools")
    if fields.get("tool_choice") == "none":
        tools = []
    return Asked(
        messages=tuple(_message(message, number) for number, message in enumerate(messages)),
        prompts=(),
        tools=tuple(tools),
        **asked,
    )


def read_completion(body: bytes) -> Asked:
    """`POST /v1/completions`; raises RequestError (400)."""
    fields = _Fields(body, TEXT)
    asked = _common(fields)
    asked["sampling"]["logprobs"] = fields.integer("logprobs", 0, MOST_LOGPROBS)
    if fields.flag("echo"):
        raise wrong("is not supported", "echo")
    if asked["max_tokens"] is None:
        asked["max_tokens"] = 16  # OpenAI's default for completions
    return Asked(messages=(), prompts=_prompts(fields.get("prompt")), tools=(), **asked)


def _common(fields: _Fields) -> dict[str, Any]:
    stream = fields.flag("stream")
    options = fields.get("stream_options") or {}
    if options and (not isinstance(options, dict) or set(options) - {"include_usage"}):
        raise wrong("knows include_usage only", "stream_options")
    if options and not stream:
        raise wrong("needs stream: true", "stream_options")
    return {
        "model": fields.text("model"),
        "max_tokens": fields.integer("max_tokens", 1, 1 << 22),
        "choices": fields.integer("n", 1, MOST_CHOICES) or 1,
        "stream": stream,
        "include_usage": options.get("include_usage") is True,
        "stops": _stops(fields.get("stop")),
        "sampling": {
            "temperature": _temperature(fields),
            "top_p": fields.number("top_p", 0, 1, 1.0),
            "top_k": fields.integer("top_k", 0, 1 << 20) or 0,
            "min_p": fields.number("min_p", 0, 1, 0.0),
            "repetition_penalty": fields.number("repetition_penalty", 0.01, 10, 1.0),
            "frequency_penalty": fields.number("frequency_penalty", -2, 2, 0.0),
            "presence_penalty": fields.number("presence_penalty", -2, 2, 0.0),
            "seed": fields.integer("seed", 0, (1 << 63) - 1),
            "logprobs": None,
            "logit_bias": _bias(fields.get("logit_bias")),
        },
        "grammar": _grammar(fields),
        "ignore_end": fields.flag("ignore_eos"),
        "size": fields.size,
    }


class _Fields:
    def __init__(self, body: bytes, known: frozenset[str]) -> None:
        self.size = len(body)
        try:
            self._values = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise wrong(f"the body is not JSON: {str(error)[:100]}") from error
        if not isinstance(self._values, dict):
            raise wrong("the body must be an object")
        odd = sorted(set(self._values) - known)
        if odd:
            names = ", ".join(quoted(name) for name in odd[:5])
            raise wrong(f"not supported here: {names}")

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or not value:
            raise wrong("must be text", key)
        return value

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise wrong("must be true or false", key)
        return value

    def integer(self, key: str, least: int, most: int) -> int | None:
        value = self._values.get(key)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise wrong(f"must be a whole number between {least} and {most}", key)
        return value

    def number(self, key: str, least: float, most: float, default: float) -> float:
        value = self._values.get(key)
        if value is None:
            return default
        if type(value) not in (int, float) or not least <= value <= most:
            raise wrong(f"must be a number between {least:g} and {most:g}", key)
        return float(value)


def _message(message: Any, number: int) -> Mapping[str, Any]:
    where = f"messages[{number}]"
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise wrong(f"needs a role: {', '.join(_ROLES)}", where)
    content = message.get("content")
    if isinstance(content, list):
        if not all(
            isinstance(part, dict) and part.get("type") == "text" and isinstance(part["text"], str)
            for part in content
        ):
            raise wrong("only parts of type text are supported", f"{where}.content")
        content = "".join(part["text"] for part in content)
    if content is None and message["role"] == "assistant":
        content = ""
    if not isinstance(content, str):
        raise wrong("must be text", f"{where}.content")
    role = "system" if message["role"] == "developer" else message["role"]
    calls = {"tool_calls": _calls(message, where)} if message.get("tool_calls") else {}
    return {**message, "role": role, "content": content, **calls}


def _calls(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The calls of an earlier answer, arguments as objects: that is how templates write them."""
    found: list[dict[str, Any]] = []
    calls: Any = message["tool_calls"]
    for call in calls if isinstance(calls, list) else [{}]:
        match call:
            case {"function": {"name": str(), "arguments": str(arguments)} as function}:
                try:
                    read = orjson.loads(arguments)
                except orjson.JSONDecodeError as error:
                    raise wrong("arguments must be JSON", f"{where}.tool_calls") from error
                found.append({**call, "function": {**function, "arguments": read}})
            case _:
                raise wrong("must be calls of functions", f"{where}.tool_calls")
    return found


def _prompts(prompt: Any) -> tuple[str | tuple[int, ...], ...]:
    match prompt:
        case str():
            return (prompt,)
        case list() if prompt and all(type(part) is int and part >= 0 for part in prompt):
            return (tuple(prompt),)
        case list() if (
            prompt and len(prompt) <= MOST_CHOICES and all(isinstance(part, str) for part in prompt)
        ):
            return tuple(prompt)
        case _:
            raise wrong("must be text, a list of texts, or a list of tokens", "prompt")


def _stops(stop: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise wrong(f"must be text, or a list of at most {MOST_STOPS} texts", "stop")
    if not all(isinstance(one, str) and 0 < len(one) <= 1024 for one in stops):
        raise wrong("must be texts of 1 to 1024 characters", "stop")
    return tuple(stops)


def _temperature(fields: _Fields) -> float:
    """What is all but 0 is greedy, as in vLLM: divided by it, logits are no numbers any more."""
    asked = fields.number("temperature", 0, 2, 1.0)
    return asked if asked >= LEAST_TEMPERATURE else 0.0


def _bias(bias: Any) -> dict[str, float]:
    if bias is None:
        return {}
    if not isinstance(bias, dict) or len(bias) > MOST_BIASES:
        raise wrong(f"must map at most {MOST_BIASES} tokens to numbers", "logit_bias")
    for token, value in bias.items():
        if not token.isdecimal() or type(value) not in (int, float) or abs(value) > 100:
            raise wrong("must map tokens to numbers between -100 and 100", "logit_bias")
    return bias


def _grammar(fields: _Fields) -> dict[str, Any] | None:
    regex = fields.get("guided_regex")
    wanted = fields.get("response_format")
    if regex is not None and wanted is not None:
        raise wrong("either this or response_format", "guided_regex")
    if regex is not None:
        return {"regex": fields.text("guided_regex")}
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"json_object": True}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return {"json_schema": schema}
        case _:
            raise wrong(
                "must be text, json_object, or json_schema with a schema", "response_format"
            )
