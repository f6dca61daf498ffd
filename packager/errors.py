"""Errors as part of the product.

Every failure that a user can meet is a `PackagerError`: it says what went wrong, where (file and
key path), what was expected, what was found, and the next step. Checks that can find several
things at once collect `Finding`s and raise them together. The command line turns the class into an
exit code at one single place (`packager.cli.main`).

Exit codes: 0 done · 1 failed · 2 usage · 3 refused by policy · 4 verification failed ·
5 something outside is unavailable, and trying again may help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, told so that the reader can mend it."""

    what: str
    where: str | None = None
    expected: str | None = None
    got: str | None = None
    next_step: str | None = None

    def as_dict(self) -> dict[str, str]:
        """The finding without its empty fields, for `--json`."""
        fields = {
            "what": self.what,
            "where": self.where,
            "expected": self.expected,
            "got": self.got,
            "next_step": self.next_step,
        }
        return {name: value for name, value in fields.items() if value is not None}


class PackagerError(Exception):
    """Base of everything that ends a command with a message instead of a traceback."""

    exit_code = 1
    kind = "failed"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what)
        self.findings: tuple[Finding, ...] = (Finding(what, where, expected, got, next_step),)

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> PackagerError:
        """One error that carries all findings; `findings` must not be empty."""
        first = findings[0]
        error = cls(
            first.what,
            where=first.where,
            expected=first.expected,
            got=first.got,
            next_step=first.next_step,
        )
        error.findings = tuple(findings)
        return error


class InputError(PackagerError):
    """What the user wrote (release.yaml, a profile, a model, a key file) cannot be used."""

    kind = "input"


class CallError(InputError):
    """The call itself, or the profile of the site that it names, cannot be used as it is; nothing
    was looked at yet. Exit code 2 like a usage error, as `install.sh` says it."""

    exit_code = 2
    kind = "usage"


class OptimizationError(PackagerError):
    """No candidate of the optimizer is fit to be shipped."""

    kind = "optimization"


class LockError(PackagerError):
    """A pin is missing, stale, or does not match the bytes that were found."""

    kind = "lock"


class OutputError(PackagerError):
    """The result cannot be written: it exists already, the disk is full, no permission."""

    kind = "output"


class NoSpaceError(OutputError):
    """The disk is full, or the quota used up: later there may be space."""


class PolicyRefusal(PackagerError):
    """The jurisdiction or the hardware profile says no. All violations at once."""

    exit_code = 3
    kind = "refused by policy"


class VerificationError(PackagerError):
    """A release is not what its signature says, or the signature is not the caller's key's."""

    exit_code = 4
    kind = "verification failed"


class UnavailableError(PackagerError):
    """A registry, a mirror, an engine did not answer; trying again may help."""

    exit_code = 5
    kind = "unavailable"
