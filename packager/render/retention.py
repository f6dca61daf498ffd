"""What the law says of logs, rule by rule: rules of one country may speak of different logs, so no
one figure stands for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.jurisdiction import Demand, Jurisdiction, Rule
from packager.domain.target import DataClass


@dataclass(frozen=True, slots=True)
class LogRule:
    """`key` is the control with a dot, `eu.gdpr-logs`; `text` the days, the countries, the rule."""

    key: str
    text: str


def log_rules(place: Jurisdiction, data: DataClass) -> tuple[LogRule, ...]:
    """The rules on logs that hold for a class of data."""
    return tuple(
        LogRule(f"{place.owner.get(rule.id, place.id)}.{rule.id}", _text(rule))
        for rule in sorted(place.rules, key=lambda rule: rule.id)
        if data in rule.data_classes and rule.demand in (Demand.LOG_RETENTION, Demand.LOGS_WITHIN)
    )


def _text(rule: Rule) -> str:
    told = []
    if rule.min_days is not None:
        told.append(f"at least {rule.min_days} days")
    if rule.max_days is not None:
        told.append(f"at most {rule.max_days} days")
    if rule.within:
        told.append(f"within {', '.join(sorted(rule.within))}")
    return f"{'; '.join(told)}: {rule.text}" if told else rule.text
