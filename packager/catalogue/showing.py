"""`targets show`: a profile as a document, and as text that is pleasant to read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from packager.domain.hardware import NO_WHEEL, HardwareProfile
from packager.domain.jurisdiction import Demand, Jurisdiction, Rule
from packager.domain.transfer import Mechanism

WIDTH = 96
READABLE = 60
EVERY = 249  # the codes of ISO 3166-1


def describe(profile: Jurisdiction | HardwareProfile) -> dict[str, object]:
    """The profile as plain values, for `--json`."""
    if isinstance(profile, Jurisdiction):
        return _jurisdiction(profile)
    return _hardware(profile)


def describe_as_text(profile: Jurisdiction | HardwareProfile) -> str:
    """The profile for a terminal, at most 96 columns wide where words allow it."""
    lines = (
        _jurisdiction_lines(profile)
        if isinstance(profile, Jurisdiction)
        else _hardware_lines(profile)
    )
    return "\n".join(lines)


def _jurisdiction(profile: Jurisdiction) -> dict[str, object]:
    return {
        "kind": "jurisdiction",
        "id": profile.id,
        "name": profile.name,
        "inherits": list(profile.parents),
        "countries": list(profile.countries),
        "regions": sorted(str(region) for region in profile.regions),
        "registries": list(profile.registries),
        "confidence": profile.confidence.value,
        "reviewed": profile.reviewed,
        "uncertain": list(profile.uncertain),
        "rules": [
            _rule(rule, f"{profile.owner[rule.id]}/{rule.id}")
            for rule in sorted(profile.rules, key=lambda rule: (profile.owner[rule.id], rule.id))
        ],
        "mechanisms": [
            _mechanism(mechanism, name) for name, mechanism in profile.mechanisms.items()
        ],
    }


def _mechanism(mechanism: Mechanism, name: str) -> dict[str, object]:
    described: dict[str, object] = {
        "mechanism": name,
        "kind": mechanism.kind.value,
        "enabled": mechanism.confirmed,
        "opens": list(mechanism.opens),
        "data": sorted(data.value for data in mechanism.data_classes),
        "to": list(mechanism.to),
        "text": mechanism.text,
        "asks": mechanism.asks,
        "law": mechanism.law.as_dict(),
    }
    optional = {"since": mechanism.since, "until": mechanism.until, "note": mechanism.note}
    return described | {key: value for key, value in optional.items() if value}


def _rule(rule: Rule, control: str) -> dict[str, object]:
    described: dict[str, object] = {
        "control": control,
        "demand": rule.demand.value,
        "data": sorted(data.value for data in rule.data_classes),
        "text": rule.text,
        "law": rule.law.as_dict(),
    }
    optional = {
        "within": list(rule.within),
        "since": rule.since,
        "min_days": rule.min_days,
        "max_days": rule.max_days,
        "records": rule.records.value if rule.demand is Demand.LOG_RETENTION else None,
        "certifications": list(rule.certifications),
        "export_classes": list(rule.export_classes),
        "standard": rule.standard.value if rule.standard else None,
        "note": rule.note,
        "adequacy": [
            {
                "country": one.country,
                "instrument": one.instrument,
                "date": one.date,
                "until": one.until,
                "source": one.source,
                "confidence": one.confidence.value,
            }
            for one in rule.adequacy
        ],
    }
    return described | {key: value for key, value in optional.items() if value}


def _hardware(profile: HardwareProfile) -> dict[str, object]:
    accelerator = profile.accelerator
    return {
        "kind": "hardware",
        "id": profile.id,
        "name": profile.name,
        "platform": str(profile.platform),
        "execution_provider": profile.execution_provider,
        "wheel": None
        if profile.wheel == NO_WHEEL
        else f"{profile.wheel.name}=={profile.wheel.version}",
        "unpackaged": profile.unpackaged,
        "precisions": {
            precision.value: rate for precision, rate in sorted(profile.precisions.items())
        },
        "memory_gb": profile.memory_gb,
        "bandwidth_gb_s": profile.bandwidth_gb_s,
        "instructions": sorted(profile.instructions),
        "accelerator": None
        if accelerator is None
        else {
            "vendor": accelerator.vendor,
            "product": accelerator.product,
            "compute_capability": accelerator.compute_capability,
            "driver_floor": accelerator.driver_floor,
            "cuda": accelerator.cuda,
            "kubernetes_resource": accelerator.kubernetes_resource,
            "runtime_class": accelerator.runtime_class,
        },
        "node_labels": dict(sorted(profile.node_labels.items())),
        "deployment_platforms": sorted(profile.deployment_platforms),
        "power_w": profile.power_w,
        "price_class": profile.price_class,
        "export_class": profile.export_class,
        "proven": profile.proven.value,
        "proven_where": profile.proven_where,
        "confidence": profile.confidence.value,
        "sources": list(profile.sources),
    }


def _jurisdiction_lines(profile: Jurisdiction) -> Iterable[str]:
    yield f"{profile.id} · {profile.name}"
    yield f"confidence {profile.confidence.value}, reviewed {profile.reviewed}; no legal advice"
    if profile.parents:
        yield f"inherits {', '.join(profile.parents)}"
    yield from _wrap("inside   ", ", ".join(profile.countries))
    yield from _wrap("regions  ", ", ".join(sorted(map(str, profile.regions))) or "none known")
    for rule in sorted(profile.rules, key=lambda rule: (profile.owner[rule.id], rule.id)):
        yield ""
        yield from _rule_lines(rule, profile.owner[rule.id])
    if profile.mechanisms:
        yield ""
        yield "Paths abroad, each of which opens rules only when release.yaml declares it:"
    for name, mechanism in profile.mechanisms.items():
        yield ""
        yield from _mechanism_lines(name, mechanism)
    if profile.uncertain:
        yield ""
        yield "Not certain:"
        for line in profile.uncertain:
            yield from _wrap("  - ", line)


def _mechanism_lines(name: str, mechanism: Mechanism) -> Iterable[str]:
    off = "" if mechanism.confirmed else "  off: nobody looked it up"
    yield f"{name}  [{mechanism.kind.value}]{off}"
    yield from _wrap("  ", mechanism.text)
    yield from _wrap("  data    ", ", ".join(sorted(one.value for one in mechanism.data_classes)))
    yield from _wrap("  to      ", _countries(mechanism.to))
    yield from _wrap("  opens   ", ", ".join(mechanism.opens))
    yield from _wrap("  hold    ", mechanism.asks)
    if mechanism.since or mechanism.until:
        end = f" until {mechanism.until}" if mechanism.until else ""
        yield f"  since   {mechanism.since or 'not known'}{end}"
    yield from _wrap("  law     ", str(mechanism.law))
    yield f"  source  {mechanism.law.source} (confidence {mechanism.law.confidence.value})"
    if mechanism.note:
        yield from _wrap("  note    ", mechanism.note)


def _rule_lines(rule: Rule, owner: str) -> Iterable[str]:
    yield f"{owner}/{rule.id}  [{rule.demand.value.replace('_', ' ')}]"
    yield from _wrap("  ", rule.text)
    yield from _wrap("  data    ", ", ".join(sorted(data.value for data in rule.data_classes)))
    if rule.within:
        yield from _wrap("  within  ", _countries(rule.within))
    if rule.adequacy:
        yield from _wrap("  adequate ", "; ".join(map(str, rule.adequacy)))
    days = [
        f"{word} {count} days"
        for word, count in (("at least", rule.min_days), ("at most", rule.max_days))
        if count
    ]
    if days:
        yield f"  keep    {rule.records.value}, {', '.join(days)}"
    if rule.certifications:
        yield from _wrap("  needs   ", ", ".join(rule.certifications))
    if rule.export_classes:
        yield from _wrap("  refuses ", ", ".join(rule.export_classes))
    if rule.standard:
        yield f"  asks    {rule.standard.value}"
    if rule.since:
        yield f"  since   {rule.since}"
    yield from _wrap("  law     ", str(rule.law))
    yield f"  source  {rule.law.source} (confidence {rule.law.confidence.value})"
    if rule.note:
        yield from _wrap("  note    ", rule.note)


def _countries(codes: tuple[str, ...]) -> str:
    """The codes, or how many they are when the law names those that are left out instead."""
    if len(codes) >= EVERY:
        return "every country"
    if len(codes) <= READABLE:
        return ", ".join(codes)
    return f"{len(codes)} countries: all but those that the text names"


def _hardware_lines(profile: HardwareProfile) -> Iterable[str]:
    yield f"{profile.id} · {profile.name}"
    where = f" on {profile.proven_where}" if profile.proven_where else ""
    yield f"confidence {profile.confidence.value}, proven {profile.proven.value}{where}"
    for key, value in _hardware(profile).items():
        if key in ("kind", "id", "name", "sources", "confidence", "proven", "proven_where"):
            continue
        yield from _wrap(f"{key.replace('_', ' '):22}", _plain(value))
    yield "sources"
    for source in profile.sources:
        yield from _wrap("  - ", source)


def _plain(value: object) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {'unknown' if item is None else _figure(item)}" for key, item in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return _figure(value)


def _figure(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _wrap(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
