"""Demands on behaviour: what the server does, and what only its operator can do.

Where an object of the release holds a demand, the decision names it. Where none can, the decision
says what is left to do; a demand that we cannot meet is never passed over in silence.
"""

from __future__ import annotations

from packager.comply.generation import decide_marking
from packager.comply.location import MANY, declare
from packager.comply.situation import Outcome, Situation
from packager.domain.decision import Status
from packager.domain.hardware import NO_WHEEL
from packager.domain.jurisdiction import RecordKind, Rule

FIRST_ONNXRUNTIME_WITH_TELEMETRY = (1, 29)


def decide_egress(_rule: Rule, situation: Situation) -> Outcome:
    """The server opens no connection; the site's network is told to forbid it as well."""
    if situation.on_kubernetes:
        return Outcome(
            Status.ENFORCED,
            "the network policy denies every connection from the server; it takes a network "
            "plug-in that enforces policies",
            (situation.network,),
        )
    return Outcome(
        Status.ENFORCED,
        "the server's network has no way out of the host",
        (situation.network,),
    )


def _built_in(pinned: str, absent: bool) -> str:
    return f"; {pinned} has none built in" if absent else f"; {pinned} has it built in"


def decide_telemetry(_rule: Rule, situation: Situation) -> Outcome:
    """ONNX Runtime's telemetry is off in the image, and absent from the wheels before 1.29.

    What a foreign base brings is not known here. Metrics that the site collects are held to the
    jurisdiction's own countries: the server sends none by itself.
    """
    if refused := _telemetry_sink(situation):
        return refused
    wheel = situation.target.hardware.wheel
    version = tuple(int(part) for part in wheel.version.split(".")[:2] if part.isdecimal())
    absent = version < FIRST_ONNXRUNTIME_WITH_TELEMETRY and wheel.name.startswith("onnxruntime")
    pinned = f"{wheel.name} {wheel.version}"
    off = "telemetry is switched off in the image and in the server's code" + (
        "" if wheel.name == NO_WHEEL.name else _built_in(pinned, absent)
    )
    evidence = (situation.workload, situation.target.name.sbom_path)
    if situation.request.base.reference is not None:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"{off}; what the base {situation.request.base} reports is not known here: ask its "
            "maker, and keep the way out closed",
            evidence,
        )
    sink = situation.request.declared.telemetry_region
    if sink is not None:
        off += f"; the site collects metrics in {situation.place(sink)}, as you declared"
    return Outcome(Status.ENFORCED, off, evidence)


def _telemetry_sink(situation: Situation) -> Outcome | None:
    """The violation, when metrics are said to go to a place outside or one that nobody knows."""
    sink = situation.request.declared.telemetry_region
    if sink is None:
        return None
    place, inside = situation.place(sink), situation.target.jurisdiction.countries
    if place.country is None:
        return Outcome(
            Status.VIOLATED,
            f"metrics go to {sink}, and nobody knows where that is",
            remedy=declare(place),
        )
    if place.country in inside:
        return None
    return Outcome(
        Status.VIOLATED,
        f"metrics go to {place}, as you declared, outside {', '.join(inside[:MANY])}",
        remedy="collect them inside, and name that place: `telemetry: {region: provider/region}`",
    )


def decide_log_retention(rule: Rule, _situation: Situation) -> Outcome:
    """How long the site's log store keeps what the server writes."""
    bounds = []
    if rule.min_days is not None:
        bounds.append(f"at least {rule.min_days} days")
    if rule.max_days is not None:
        bounds.append(f"at most {rule.max_days} days")
    kept = f"{' and '.join(bounds)}{since(rule)}"
    if rule.records is RecordKind.DOCUMENTS:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"these are papers of yours, which never pass through the server: keep them {kept}",
        )
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        "the server writes to standard output and keeps nothing: set the site's log store to keep "
        f"it {kept}",
    )


def decide_retention(situation: Situation) -> Outcome:
    """All retention rules of the target taken together: one span of days, or none that fits."""
    jurisdiction, data = situation.target.jurisdiction, situation.request.data_class
    found = jurisdiction.retention(data)
    if not found.controls:
        return Outcome(
            Status.NOT_APPLICABLE, f"no rule of {jurisdiction.id} on the logs of {data.value} data"
        )
    rules = ", ".join(found.controls)
    if found.contradictory:
        return Outcome(
            Status.LEFT_TO_OPERATOR,
            f"no single period meets all rules ({rules}): at least {found.min_days} days and at "
            f"most {found.max_days}. Keep the records that a law demands apart from the rest of "
            "the log, each for its own period",
        )
    least = f"at least {found.min_days} days" if found.min_days else "no minimum"
    most = f"at most {found.max_days} days" if found.max_days else "no maximum"
    audit = "; records of events are demanded, not a log alone" if found.audit else ""
    return Outcome(
        Status.LEFT_TO_OPERATOR, f"the strictest of {rules} taken together: {least}, {most}{audit}"
    )


def decide_ai_duty(rule: Rule, situation: Situation) -> Outcome:
    """Documentation is there to be used; the duty itself lies with provider and deployer."""
    if rule.marking and situation.request.serving.generation:
        return decide_marking(rule, situation)
    return Outcome(
        Status.LEFT_TO_OPERATOR,
        "whoever offers or uses the system meets this duty; the record of quality, the bill of "
        f"materials and the provenance can serve as documentation{since(rule)}",
        (
            *(one.quality_path(situation.target.hardware.id) for one in situation.request.models),
            situation.target.name.sbom_path,
            situation.target.name.provenance_path,
        ),
    )


def since(rule: Rule) -> str:
    """From when a duty holds, in brackets; empty when no date is known."""
    return f" (from {rule.since})" if rule.since else ""
