"""Decisions: how each rule of a jurisdiction came out for one target."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packager.domain.law import Law
from packager.domain.transfer import TransferPath


class Status(StrEnum):
    """How a control is met. Only `violated` refuses."""

    ENFORCED = "enforced"
    EVIDENCED = "evidenced"
    LEFT_TO_OPERATOR = "left to the operator"
    NOT_APPLICABLE = "not applicable"
    VIOLATED = "violated"


@dataclass(frozen=True, slots=True)
class Decision:
    """One control: what is required, how it came out, by which object or file, and why.

    `control` is `<profile>/<rule>` (or `hardware/<check>`); `by` names the object that enforces it
    or the file that evidences it, relative to the release folder; `remedy` is told when violated;
    `paths` are the declared transfers that it rests on.
    """

    control: str
    requirement: str
    status: Status
    why: str
    by: tuple[str, ...] = ()
    remedy: str | None = None
    law: Law | None = None
    paths: tuple[TransferPath, ...] = ()

    def as_dict(self) -> dict[str, object]:
        described: dict[str, object] = {
            "control": self.control,
            "requirement": self.requirement,
            "status": self.status.value,
            "why": self.why,
            "by": list(self.by),
        }
        if self.remedy:
            described["remedy"] = self.remedy
        if self.law:
            described["law"] = self.law.as_dict()
        if self.paths:
            described["paths"] = [path.as_dict() for path in self.paths]
        return described
