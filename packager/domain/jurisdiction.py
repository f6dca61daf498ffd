"""Jurisdiction profiles: rules with law, article, source and confidence, and where regions lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from packager.domain.hardware import Confidence
from packager.domain.law import Law as Law
from packager.domain.target import DataClass, Region
from packager.domain.transfer import AdequacyDecision, Mechanism


class Demand(StrEnum):
    """What a rule demands. Few kinds, each decided by one function in `comply/`."""

    INFERENCE_WITHIN = "inference_within"
    REGISTRY_WITHIN = "registry_within"
    DATA_AT_REST_WITHIN = "data_at_rest_within"
    LOGS_WITHIN = "logs_within"
    KEYS_WITHIN = "keys_within"
    EGRESS_DENIED = "egress_denied"
    TELEMETRY_OFF = "telemetry_off"
    MODEL_LICENSE_KNOWN = "model_license_known"
    LOG_RETENTION = "log_retention"
    CRYPTOGRAPHY = "cryptography"
    TRANSFER = "transfer"
    AI_DUTY = "ai_duty"
    HOSTING_CERTIFICATION = "hosting_certification"
    MODEL_ORIGIN_WITHIN = "model_origin_within"
    BASE_ORIGIN_WITHIN = "base_origin_within"
    ACCELERATOR_EXPORT = "accelerator_export"
    MODEL_ENCRYPTED = "model_encrypted"


class CryptographyStandard(StrEnum):
    """What a cryptography rule asks for, where it names something that we can compare with."""

    FIPS_140_3 = "fips-140-3"
    SM = "sm2-sm3-sm4"
    GOST = "gost"
    KCMVP = "kcmvp"
    APPROVED_PRODUCTS = "approved-products"
    RECOMMENDED_ALGORITHMS = "recommended-algorithms"


class RecordKind(StrEnum):
    """What a retention rule speaks of: the log of a system, a record of who did what that cannot be
    changed, or papers that are kept beside the server and never pass through it."""

    LOGS = "logs"
    AUDIT = "audit"
    DOCUMENTS = "documents"


class Marking(StrEnum):
    """How a rule wants what a machine wrote to be marked: for machines alone, with a label that
    people see, or with both a visible label and metadata of a fixed form (China's AIGC)."""

    MACHINE_READABLE = "machine-readable"
    VISIBLE_LABEL = "visible-label"
    LABEL_AND_METADATA = "label-and-metadata"


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand for some data classes. `parameters` depend on the demand and are typed there.

    `within` lists ISO 3166 country codes; it is what "inside" means for this rule. `export_classes`
    are the computed classes of an accelerator that the rule refuses, such as `3A090.a`; `adequacy`
    holds the decisions behind those countries of `within` for which a group names one.
    """

    id: str
    demand: Demand
    data_classes: frozenset[DataClass]
    text: str
    law: Law
    within: tuple[str, ...] = ()
    since: str | None = None
    min_days: int | None = None
    max_days: int | None = None
    certifications: tuple[str, ...] = ()
    note: str | None = None
    export_classes: tuple[str, ...] = ()
    standard: CryptographyStandard | None = None
    adequacy: tuple[AdequacyDecision, ...] = ()
    records: RecordKind = RecordKind.LOGS
    marking: Marking | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what a server writes is kept, by all rules together, in days: for `server.json`.

    `name` is the class that a line of the log can carry, such as `de-government`. `min_days` is the
    longest minimum, `max_days` the shortest maximum, None where no rule sets one; `controls` are
    the rules behind them. `audit`: a rule asks for records of events, not for a log alone.
    `contradictory`: no period meets all rules, so that the logs have to be told apart.
    """

    name: str
    min_days: int | None = None
    max_days: int | None = None
    audit: bool = False
    controls: tuple[str, ...] = ()

    @property
    def contradictory(self) -> bool:
        return (
            self.min_days is not None
            and self.max_days is not None
            and self.min_days > self.max_days
        )

    def as_dict(self) -> dict[str, object]:
        """The form that travels: to the server, and into the evidence."""
        return {
            "class": self.name,
            "audit": self.audit,
            "min_days": self.min_days,
            "max_days": self.max_days,
            "controls": list(self.controls),
        }


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A profile after inheritance: `de` carries the rules of `eu` too.

    `countries` are the ISO 3166 codes that count as inside; `regions` are the cloud regions that
    lie there; `registries` are host patterns (`*.example.de`) that the profile knows to be inside;
    `owner` maps each rule id to the profile that wrote it; `mechanisms` are the legal paths abroad,
    own and inherited, by `<profile>/<id>`.
    """

    id: str
    name: str
    countries: tuple[str, ...]
    parents: tuple[str, ...]
    rules: tuple[Rule, ...]
    regions: frozenset[Region]
    registries: tuple[str, ...]
    owner: Mapping[str, str]
    uncertain: tuple[str, ...]
    confidence: Confidence
    reviewed: str
    mechanisms: Mapping[str, Mechanism] = field(default_factory=dict)

    def markings(self, data: DataClass) -> dict[str, Marking]:
        """The rules on marking what a machine wrote, by control."""
        return {
            f"{self.owner[rule.id]}/{rule.id}": rule.marking
            for rule in self.rules
            if rule.marking and data in rule.data_classes
        }

    def retention(self, data: DataClass) -> Retention:
        """The bounds of all rules on logs and audit records for a class of data, the strictest."""
        rules = [
            rule
            for rule in self.rules
            if rule.demand is Demand.LOG_RETENTION
            and data in rule.data_classes
            and rule.records is not RecordKind.DOCUMENTS
        ]
        return Retention(
            f"{self.id}-{data.value}",
            max((rule.min_days for rule in rules if rule.min_days is not None), default=None),
            min((rule.max_days for rule in rules if rule.max_days is not None), default=None),
            any(rule.records is RecordKind.AUDIT for rule in rules),
            tuple(sorted(f"{self.owner[rule.id]}/{rule.id}" for rule in rules)),
        )
