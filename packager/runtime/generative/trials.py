"""The server's side of the process that tries grammars: one for a model, begun when it is needed.

What was tried is remembered, since those who ask with a schema ask with the same one again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import orjson

from ..lifecycle import unavailable
from .asked import wrong
from .channel import packed
from .child import spawn
from .constraints import AVAILABLE
from .settings import GenerativeSettings

MOST_BYTES = 1 << 17
_REMEMBERED = 1024
_PATIENCE_SECONDS = 30.0
"""For a processor's share of a second, on a machine where everybody waits."""


class Trials:
    """Of the grammars for one model."""

    def __init__(self, configuration: Path, settings: GenerativeSettings) -> None:
        self._arguments = (str(configuration), settings.name)
        self._known: dict[bytes, bool] = {}
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def require_bearable(self, grammar: dict[str, Any] | None) -> None:
        """Raises RequestError: 400 for a grammar that takes too long to compile, 503 when nobody
        can tell."""
        if grammar is None:
            return
        if not AVAILABLE:  # the library's own engine could follow it, and nobody try it
            why = "this server was packaged without the library for grammars"
            raise wrong(why, _parameter(grammar))
        try:
            text = orjson.dumps(grammar)
        except orjson.JSONEncodeError as error:  # it reads deeper than it writes
            raise wrong("is nested too deeply", _parameter(grammar)) from error
        if len(text) > MOST_BYTES:
            raise wrong(f"must have at most {MOST_BYTES} bytes", _parameter(grammar))
        name = hashlib.sha256(text).digest()
        if name not in self._known:
            async with self._turn:
                if name not in self._known:
                    bearable = await self._tried(grammar)
                    if len(self._known) >= _REMEMBERED:
                        self._known.pop(next(iter(self._known)))
                    self._known[name] = bearable
        if not self._known[name]:
            raise wrong("takes too long to compile", _parameter(grammar))

    async def _tried(self, grammar: dict[str, Any]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if self._process is None:
                    await self._spawn()
                assert self._writer is not None  # noqa: S101 - made by the line before
                assert self._reader is not None  # noqa: S101
                self._writer.write(packed(grammar))
                line = await self._reader.readline()
            return bool(orjson.loads(line)["bearable"])
        except (OSError, ValueError, TimeoutError) as error:
            await self.stop()
            raise unavailable("nobody can tell what this grammar costs") from error
        except BaseException:
            # Whoever asked has left: the next answer would be the one to this question.
            await self.stop()
            raise

    async def _spawn(self) -> None:
        self._process, ours = await spawn("trial", *self._arguments)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)

    async def stop(self) -> None:
        """End the process, if there is one; the next question begins another."""
        process, self._process = self._process, None
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _parameter(grammar: dict[str, Any]) -> str:
    return "guided_regex" if "regex" in grammar else "response_format"
