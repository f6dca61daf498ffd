"""What the user sees: results on stdout, the story on stderr.

On a terminal the story is one line that rewrites itself; elsewhere (a pipeline's log) it is plain
lines. `NO_COLOR` is kept. With `--json` stdout carries exactly one JSON document, an error too.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from packager.errors import PackagerError

_BAR_WIDTH = 24
_REDRAW_SECONDS = 0.1
_PLAIN_SECONDS = 5.0
_NAME_WIDTH, _STATE_WIDTH = 24, 9
_STATE_COLOURS = {"fits": "green", "rejected": "yellow", "failed": "red", "measured": "cyan"}


@dataclass
class Console:
    """The two streams of one command. Also a `packager.progress.Progress`."""

    json_output: bool = False
    quiet: bool = False
    # None lets Click strip colours where a stream is no terminal.
    color: bool | None = field(
        default_factory=lambda: False if os.environ.get("NO_COLOR") else None
    )
    _title: str = ""
    _drawn: float = 0.0
    _line_open: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _live(self) -> bool:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def step(self, title: str) -> None:
        """A new piece of work begins."""
        with self._lock:
            self._close_line()
            self._title = title
            self._drawn = time.monotonic() if not self._live else 0.0
            self._err(self._style("•", fg="cyan") + f" {title}")

    def advance(self, detail: str, done: int, total: int) -> None:
        """Within the step, `done` of `total` are finished."""
        with self._lock:
            now = time.monotonic()
            if now - self._drawn < (_REDRAW_SECONDS if self._live else _PLAIN_SECONDS):
                return
            self._drawn = now
            share = f"{done * 100 // total:3d} %" if total else f"{done}"
            if not self._live:
                self._err(f"  {self._title}: {detail} {share}")
            elif not self.quiet:
                filled = _BAR_WIDTH * done // total if total else 0
                bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
                text = f"\r\033[K  {bar} {share}  {detail}"
                click.echo(text[: _terminal_width() + 4], err=True, nl=False)
                self._line_open = True

    def note(self, text: str) -> None:
        """Something that the user should know, on a line of its own."""
        with self._lock:
            self._close_line()
            self._err(f"  {text}")

    def outcome(self, name: str, state: str, told: str) -> None:
        """A line of a table that grows above the bar, as long as the terminal is wide."""
        with self._lock:
            self._close_line()
            room = max(20, _terminal_width() - _NAME_WIDTH - _STATE_WIDTH - 7)
            short = told if len(told) <= room or not self._live else f"{told[: room - 1]}…"
            colour = _STATE_COLOURS.get(state)
            shown = (
                self._style(f"{state:{_STATE_WIDTH}}", fg=colour)
                if colour
                else (f"{state:{_STATE_WIDTH}}")
            )
            self._err(f"  {name:{_NAME_WIDTH}} {shown} {short}")

    def result(self, text: str, document: object) -> None:
        """The result: `text` for people, or `document` as JSON when `--json` was given."""
        with self._lock:
            self._close_line()
        if self.json_output:
            click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
        elif text:
            click.echo(text, color=self.color)

    def error(self, error: PackagerError) -> None:
        """All findings of an error: what, where, expected, got, and the next step."""
        with self._lock:
            self._close_line()
        if self.json_output:
            document = {
                "error": error.kind,
                "exit_code": error.exit_code,
                "findings": [finding.as_dict() for finding in error.findings],
            }
            click.echo(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False))
            return
        for finding in error.findings:
            head = self._style(f"{error.kind}:", fg="red", bold=True)
            click.echo(f"{head} {finding.what}", err=True, color=self.color)
            for label, value in (
                ("where", finding.where),
                ("expected", finding.expected),
                ("got", finding.got),
                ("next", finding.next_step),
            ):
                if value:
                    styled = self._style(f"{label:>9}:", fg="yellow" if label == "next" else "cyan")
                    click.echo(f"{styled} {value}", err=True, color=self.color)
        if len(error.findings) > 1:
            click.echo(f"{len(error.findings)} findings", err=True)

    def interrupted(self) -> None:
        """Ctrl-C or a signal: say that nothing was left behind."""
        with self._lock:
            self._close_line()
        click.echo("interrupted: nothing was published", err=True)

    def _err(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True, color=self.color)

    def _style(self, text: str, **style: object) -> str:
        return text if self.color is False else click.style(text, **style)  # type: ignore[arg-type]

    def _close_line(self) -> None:
        if self._line_open:
            click.echo("\r\033[K", err=True, nl=False)
            self._line_open = False


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their content, for people."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["─" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def human_size(size: float) -> str:
    """Bytes in decimal units, as registries and disks count them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
