"""How engines tell what they are doing, without knowing who listens.

An engine takes a `Progress` and calls `step` for a new piece of work and `advance` within it. The
command line shows a bar or plain lines; tests and library users pass `SILENT`.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener. Calls are cheap and may come from several threads."""

    def step(self, title: str) -> None:
        """A new piece of work begins: `assemble de/x86-64-v3/kubernetes`."""

    def advance(self, detail: str, done: int, total: int) -> None:
        """Within the step, `done` of `total` units are finished (`total` 0 when unknown)."""

    def note(self, text: str) -> None:
        """Something that the user should know, on a line of its own."""

    def outcome(self, name: str, state: str, told: str) -> None:
        """What became of one of several things that are tried: a line of a table that grows."""


class _Silent:
    def step(self, title: str) -> None:
        """Nobody listens."""

    def advance(self, detail: str, done: int, total: int) -> None:
        """Nobody listens."""

    def note(self, text: str) -> None:
        """Nobody listens."""

    def outcome(self, name: str, state: str, told: str) -> None:
        """Nobody listens."""


SILENT: Progress = _Silent()
