"""Jurisdiction profiles: rules with law, article, source and confidence, and where regions lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from packager.domain.hardware import Confidence
from packager.domain.target import DataClass, Region


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
    ACCELERATOR_EXPORT = "accelerator_export"


class CryptographyStandard(StrEnum):
    """What a cryptography rule asks for, where it names something that we can compare with."""

    FIPS_140_3 = "fips-140-3"
    SM = "sm2-sm3-sm4"
    GOST = "gost"
    KCMVP = "kcmvp"
    APPROVED_PRODUCTS = "approved-products"
    RECOMMENDED_ALGORITHMS = "recommended-algorithms"


@dataclass(frozen=True, slots=True)
class Law:
    """Where a rule comes from. `source` is an address or `memory`; never upgraded in silence."""

    name: str
    article: str
    source: str
    confidence: Confidence
    reviewed: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand for some data classes. `parameters` depend on the demand and are typed there.

    `within` lists ISO 3166 country codes; it is what "inside" means for this rule. `export_classes`
    are the computed classes of an accelerator that the rule refuses, such as `3A090.a`.
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


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A profile after inheritance: `de` carries the rules of `eu` too.

    `countries` are the ISO 3166 codes that count as inside; `regions` are the cloud regions that
    lie there; `registries` are host patterns (`*.example.de`) that the profile knows to be inside;
    `owner` maps each rule id to the profile that wrote it.
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
