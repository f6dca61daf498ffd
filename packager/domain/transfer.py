"""Legal paths abroad: what a law offers, what the user says to hold, and what came of both.

A path is never assumed. The catalogue says which mechanisms a law knows (`Mechanism`), the user
declares the one that is held, with its document and date (`DeclaredTransfer`), and a decision that
rests on one shows the path (`TransferPath`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from packager.domain.hardware import Confidence
from packager.domain.law import Law
from packager.domain.target import DataClass

UNCONFIRMED = frozenset({Confidence.MEMORY, Confidence.LOW})


class MechanismKind(StrEnum):
    """The kinds of path that laws know, from a decision on a country down to consent."""

    LIMITED_ADEQUACY = "limited adequacy"
    STANDARD_CLAUSES = "standard clauses"
    BINDING_RULES = "binding rules"
    CONTRACT = "contract"
    CERTIFICATION = "certification"
    ASSESSMENT = "assessment"
    FILING = "filing"
    APPROVAL = "approval"
    CONSENT = "consent"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One path that a law offers. `opens` names the rules that it sets aside, for `data_classes`,
    towards the countries in `to` (ISO 3166); `asks` is what the user has to hold for it."""

    id: str
    kind: MechanismKind
    opens: tuple[str, ...]
    data_classes: frozenset[DataClass]
    to: tuple[str, ...]
    text: str
    asks: str
    law: Law
    since: str | None = None
    until: str | None = None
    note: str | None = None

    @property
    def confirmed(self) -> bool:
        """A mechanism that nobody looked up opens nothing, whatever is declared."""
        return self.law.confidence not in UNCONFIRMED

    def opens_rule(self, rule: str, data: DataClass) -> bool:
        """Whether it sets this rule aside for this class of data."""
        return self.confirmed and rule in self.opens and data in self.data_classes


@dataclass(frozen=True, slots=True)
class AdequacyDecision:
    """Why a country counts as adequate: the instrument, its day, and how sure we are of both."""

    country: str
    instrument: str
    date: str
    source: str
    confidence: Confidence
    until: str | None = None

    def __str__(self) -> str:
        end = f", until {self.until}" if self.until else ""
        unsure = ", from memory, not looked up" if self.confidence is Confidence.MEMORY else ""
        return f"{self.country} by {self.instrument} of {self.date}{end}{unsure}"


@dataclass(frozen=True, slots=True, order=True)
class DeclaredTransfer:
    """A path that the user holds: `mechanism` as `<profile>/<id>`, for which countries, with which
    recipient, by which document of which day. Believed as declared, and shown as such."""

    mechanism: str
    to: tuple[str, ...]
    recipient: str
    document: str
    dated: str
    where: str

    def as_dict(self) -> dict[str, object]:
        return {
            "mechanism": self.mechanism,
            "to": list(self.to),
            "recipient": self.recipient,
            "document": self.document,
            "dated": self.dated,
        }


@dataclass(frozen=True, slots=True)
class TransferPath:
    """A declared transfer that opens a rule for some countries, with the law behind it."""

    declared: DeclaredTransfer
    mechanism: Mechanism
    countries: tuple[str, ...]

    def __str__(self) -> str:
        law = self.mechanism.law
        return (
            f"{', '.join(self.countries)} by {self.declared.mechanism} "
            f"({self.mechanism.kind.value}: {law}), as you declared: "
            f"{self.declared.document} of {self.declared.dated} with {self.declared.recipient}"
        )

    def as_dict(self) -> dict[str, object]:
        described: dict[str, object] = {
            "mechanism": self.declared.mechanism,
            "kind": self.mechanism.kind.value,
            "text": self.mechanism.text,
            "asks": self.mechanism.asks,
            "countries": list(self.countries),
            "recipient": self.declared.recipient,
            "document": self.declared.document,
            "dated": self.declared.dated,
            "law": self.mechanism.law.as_dict(),
        }
        if self.mechanism.until:
            described["until"] = self.mechanism.until
        if self.mechanism.note:
            described["note"] = self.mechanism.note
        return described
