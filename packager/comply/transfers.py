"""May inference for data subjects of one jurisdiction happen in another? For every pair.

The answer is read off the rules on places, by the same sets of countries that `check` decides
with: a target that the matrix refuses, `check` refuses. A destination with several countries passes
only when all of them do, since "somewhere in it" is no promise. What a refusal could still be
opened by (a contract, a certificate of the recipient) stands in the note of its rule and is never
assumed. No legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from packager.domain.jurisdiction import Demand, Jurisdiction, Rule
from packager.domain.target import DataClass
from packager.domain.transfer import Mechanism

HOUSE_RULE = "House rule of this catalogue"
PLACES = frozenset(
    {
        Demand.INFERENCE_WITHIN,
        Demand.TRANSFER,
        Demand.DATA_AT_REST_WITHIN,
        Demand.LOGS_WITHIN,
        Demand.KEYS_WITHIN,
    }
)


class Verdict(StrEnum):
    """What comes of a pair.

    `unrestricted`: abroad, and no rule of the profile speaks of it. `with a mechanism`: refused,
    unless the release declares a transfer that the profile knows. `refused by house rule`: no law
    in the profile stands against it, only what the catalogue takes naming a jurisdiction to mean.
    """

    INSIDE = "inside"
    LAWFUL_ABROAD = "lawful abroad"
    UNRESTRICTED = "unrestricted"
    MECHANISM = "with a mechanism"
    HOUSE_RULE = "refused by house rule"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Ground:
    """A rule that a verdict rests on; `outside` are the destination's countries that it refuses."""

    control: str
    rule: Rule
    outside: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        described: dict[str, object] = {
            "control": self.control,
            "text": self.rule.text,
            "law": self.rule.law.as_dict(),
        }
        if self.outside:
            described["outside"] = list(self.outside)
        if self.rule.note:
            described["note"] = self.rule.note
        return described


@dataclass(frozen=True, slots=True)
class Transfer:
    """One pair for one class of data, with the rules that allow it or, if refused, those that do
    the refusing; `ways` are the mechanisms that would open all of them, by name."""

    origin: str
    destination: str
    data: DataClass
    verdict: Verdict
    grounds: tuple[Ground, ...]
    ways: tuple[tuple[str, Mechanism], ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {
            "from": self.origin,
            "to": self.destination,
            "data": self.data.value,
            "verdict": self.verdict.value,
            "why": self.why,
            "grounds": [ground.as_dict() for ground in self.grounds],
            "mechanisms": [
                {
                    "mechanism": name,
                    "kind": way.kind.value,
                    "text": way.text,
                    "asks": way.asks,
                    "law": way.law.as_dict(),
                }
                for name, way in self.ways
            ],
        }

    @property
    def why(self) -> str:
        """One sentence: the legal path, or the refusal."""
        laws = "; ".join(dict.fromkeys(ground.rule.law.told for ground in self.grounds))
        match self.verdict:
            case Verdict.INSIDE:
                return "it stays inside" + (f": {laws}" if laws else "; no rule asks for a place")
            case Verdict.LAWFUL_ABROAD:
                return f"abroad, by {laws}"
            case Verdict.UNRESTRICTED:
                return "abroad; no rule of the profile speaks of places for this class of data"
            case Verdict.MECHANISM:
                ways = "; ".join(f"{name} ({way.kind.value}: {way.law})" for name, way in self.ways)
                return f"only with a declared transfer: {ways}"
            case Verdict.REFUSED | Verdict.HOUSE_RULE:
                outside = sorted({code for ground in self.grounds for code in ground.outside})
                return f"refused for {', '.join(outside)} by {laws}"


def transfer(origin: Jurisdiction, destination: Jurisdiction, data: DataClass) -> Transfer:
    """Whether inference on `data` of people in `origin` may happen anywhere in `destination`."""
    grounds = tuple(
        Ground(
            f"{origin.owner[rule.id]}/{rule.id}",
            rule,
            tuple(code for code in destination.countries if code not in rule.within),
        )
        for rule in sorted(origin.rules, key=lambda rule: (origin.owner[rule.id], rule.id))
        if rule.demand in PLACES and data in rule.data_classes
    )
    refusing = tuple(ground for ground in grounds if ground.outside)
    if refusing:
        ways = _ways(origin, refusing, data)
        lawful = all(ground.rule.law.name == HOUSE_RULE for ground in refusing)
        verdict = Verdict.HOUSE_RULE if lawful else Verdict.REFUSED
        return Transfer(
            origin.id,
            destination.id,
            data,
            Verdict.MECHANISM if ways else verdict,
            refusing,
            ways,
        )
    if set(destination.countries) <= set(origin.countries):
        verdict = Verdict.INSIDE
    else:
        verdict = Verdict.LAWFUL_ABROAD if grounds else Verdict.UNRESTRICTED
    return Transfer(origin.id, destination.id, data, verdict, grounds)


def _ways(
    origin: Jurisdiction, refusing: Sequence[Ground], data: DataClass
) -> tuple[tuple[str, Mechanism], ...]:
    """The mechanisms that each open every refusing rule for every country that it refuses."""
    return tuple(
        (name, mechanism)
        for name, mechanism in sorted(origin.mechanisms.items())
        if all(
            mechanism.opens_rule(ground.rule.id, data) and set(ground.outside) <= set(mechanism.to)
            for ground in refusing
        )
    )


def matrix(
    origins: Sequence[Jurisdiction],
    destinations: Sequence[Jurisdiction],
    classes: Iterable[DataClass],
) -> tuple[Transfer, ...]:
    """Every pair for every class of data, sorted by class, origin and destination."""
    return tuple(
        transfer(origin, destination, data)
        for data in sorted(set(classes), key=lambda one: one.value)
        for origin in sorted(origins, key=lambda one: one.id)
        for destination in sorted(destinations, key=lambda one: one.id)
    )
