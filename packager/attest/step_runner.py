"""Runs the numbered steps of a verification in order, and keeps what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from packager.errors import Finding, VerificationError
from packager.progress import Progress

MAX_FINDINGS = 100
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class VerifiedStep:
    """A step that was passed. `counts` say how much was looked at: `{"files": 112}`."""

    number: int
    title: str
    result: str
    counts: Mapping[str, int]

    def as_dict(self) -> dict[str, object]:
        return {
            "number": self.number,
            "title": self.title,
            "result": self.result,
            "counts": dict(self.counts),
        }


@dataclass
class StepRunner:
    """`total` steps in all; `next_step` is what a refusal advises when nothing better is known."""

    progress: Progress
    total: int
    next_step: str
    passed: list[VerifiedStep] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    running: tuple[int, str] = (0, "")

    def run(self, number: int, title: str, work: Callable[[], _Value]) -> _Value:
        """A step that all later ones stand on: a refusal ends the verification at once."""
        self.progress.advance(f"step {number}, {title}", number - 1, self.total)
        try:
            value = work()
        except VerificationError as error:
            raise VerificationError.of(told(number, title, error, self.next_step)) from None
        self.running = (number, title)
        return value

    def tell(self, counts: Mapping[str, int]) -> None:
        """The step that ran last was passed, having looked at this much."""
        result = ", ".join(_counted(count, what) for what, count in counts.items())
        self.passed.append(VerifiedStep(*self.running, result or "passed", counts))

    def count(self, number: int, title: str, check: Callable[[], Mapping[str, int]]) -> None:
        """A step whose findings are told together with its neighbours'."""
        self.progress.advance(f"step {number}, {title}", number - 1, self.total)
        try:
            counts = check()
        except VerificationError as error:
            self.findings += told(number, title, error, self.next_step)
            return
        self.running = (number, title)
        self.tell(counts)

    def refuse_if_found(self) -> None:
        """Raises VerificationError with what the steps found so far."""
        if not self.findings:
            return
        shown = self.findings[:MAX_FINDINGS]
        if left := len(self.findings) - len(shown):
            shown.append(
                Finding(f"and {left} more findings of these steps", next_step=self.next_step)
            )
        raise VerificationError.of(shown)


def told(number: int, title: str, error: VerificationError, next_step: str) -> list[Finding]:
    """The findings of a step, each with its number and title."""
    return [
        replace(
            finding,
            what=f"step {number}, {title}: {finding.what}",
            next_step=finding.next_step or next_step,
        )
        for finding in error.findings
    ]


@contextmanager
def told_as(number: int, title: str, next_step: str) -> Iterator[None]:
    """Work that belongs to a step and has to be done before there is a runner."""
    try:
        yield
    except VerificationError as error:
        raise VerificationError.of(told(number, title, error, next_step)) from None


def _counted(count: int, what: str) -> str:
    return f"{count} {what.removesuffix('s') if count == 1 else what}"
