"""The one way to turn values into bytes that get hashed or signed.

Canonical JSON here is RFC 8785 for the values that we use: UTF-8, keys sorted, no white space, no
NaN. Floating-point numbers are written as Python's shortest round-trip form, so measured figures
are rounded before they come here. Time enters only as `SourceDateEpoch`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from packager.errors import InputError

JsonValue = Any


def dumps(value: JsonValue) -> bytes:
    """Canonical JSON bytes without a final newline."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def dumps_readable(value: JsonValue) -> bytes:
    """The same order of keys, indented, for evidence that people open; ends with a newline."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


@dataclass(frozen=True, slots=True)
class SourceDateEpoch:
    """Seconds since 1970 that stand for "now" in every output (reproducible-builds.org)."""

    seconds: int = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> SourceDateEpoch:
        """Read SOURCE_DATE_EPOCH; 0 when unset. Raises InputError when it is not a whole number."""
        text = environ.get("SOURCE_DATE_EPOCH", "0")
        if not text.isdecimal() or int(text) > 253402300799:
            raise InputError(
                "SOURCE_DATE_EPOCH is not a number of seconds",
                where="environment variable SOURCE_DATE_EPOCH",
                expected="a whole number of seconds since 1970, such as 1767225600",
                got=repr(text),
                next_step="unset it, or set it to `git log -1 --format=%ct`",
            )
        return cls(int(text))

    def rfc3339(self) -> str:
        """`1970-01-01T00:00:00Z`"""
        return datetime.fromtimestamp(self.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
