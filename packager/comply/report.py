"""The compliance record of a release: JSON as evidence, Markdown for a pull request, HTML to read.

The record is made once from the decisions; both texts are made from the record alone, so that they
can never say something else. A rule known from memory only is marked so wherever it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from packager.domain.decision import Status
from packager.domain.hardware import Confidence
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.resources import data_folder

SCHEMA = "packager/compliance/v1"
ROOT = "release.json"
DISCLAIMER = (
    "This report says which rules of the named profiles were decided, how, and on what source. "
    "It is no legal advice, and no statement that the law is kept."
)
ORDER = (
    Status.VIOLATED,
    Status.LEFT_TO_OPERATOR,
    Status.EVIDENCED,
    Status.ENFORCED,
    Status.NOT_APPLICABLE,
)


def evidence_named(built: Sequence[BuiltTarget]) -> list[str]:
    """Every file of the release that a decision names, but the root, which is sealed after all."""
    named = {name for one in built for decision in one.decisions for name in decision.by}
    return sorted(named - {ROOT})


def compliance_record(
    request: ReleaseRequest,
    built: Sequence[BuiltTarget],
    evidence: Mapping[str, str],
    created: str,
) -> dict[str, Any]:
    """Every decision of every target, with the profiles that they rest on. Plain JSON values.

    `evidence` maps each of `evidence_named` to its digest (`sha256:…`); `created` as in RFC 3339.
    """
    return {
        "schema": SCHEMA,
        "created": created,
        "evidence": dict(sorted(evidence.items())),
        "disclaimer": DISCLAIMER,
        "release": {
            "name": request.name,
            "version": request.version,
            "data_class": request.data_class.value,
            "model_license": request.model_license,
            **({"models": _models(request)} if request.beside else {}),
        },
        "targets": [_target(request, one) for one in sorted(built, key=lambda one: one.plan.name)],
    }


def target_record(request: ReleaseRequest, built: BuiltTarget, created: str) -> dict[str, Any]:
    """The decisions of one target, to be attested about its image. Digests of the evidence are in
    the release's record, which is written when all evidence is there."""
    record = compliance_record(request, [built], {}, created)
    del record["evidence"]
    (record["target"],) = record.pop("targets")
    return record


def compliance_markdown(record: Mapping[str, Any]) -> str:
    """The record as Markdown: one table a target, violations and open duties first."""
    release = record["release"]
    lines = [
        f"# Compliance of {_cell(release['name'])} {_cell(release['version'])}",
        "",
        f"> {record['disclaimer']}",
        "",
        f"Class of data: **{release['data_class']}** · {_licensed(release)}",
    ]
    for target in record["targets"]:
        lines += ["", f"## {target['name']}", "", _summary(target), ""]
        lines += [f"Image `{target['image']}`", ""]
        lines += ["| control | status | why | by | law |", "|---|---|---|---|---|"]
        lines += [_row(decision) for decision in target["decisions"]]
        if target["uncertain"]:
            lines += ["", "Not certain:", ""]
            lines += [f"- {_cell(line)}" for line in target["uncertain"]]
    lines += ["", "## Evidence", "", "| file | digest |", "|---|---|"]
    lines += [f"| `{_cell(name)}` | `{digest}` |" for name, digest in record["evidence"].items()]
    return "\n".join(lines) + "\n"


def compliance_html(record: Mapping[str, Any]) -> str:
    """The record as one HTML page that needs nothing from outside."""
    environment = Environment(
        loader=FileSystemLoader(data_folder("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("compliance.html.j2")
    return template.render(record=record, statuses=[status.value for status in ORDER], root=ROOT)


def _models(request: ReleaseRequest) -> list[dict[str, str | None]]:
    return [
        {
            "name": one.model_name.name,
            "version": one.model_name.version,
            "license": one.model_license,
            "origin": one.declared.model_origin,
        }
        for one in request.models
    ]


def _licensed(release: Mapping[str, Any]) -> str:
    if "models" not in release:
        return f"licence of the model: **{_cell(release['model_license'] or 'not named')}**"
    return "licences of the models: " + ", ".join(
        f"{_cell(one['name'])} {one['version']} **{_cell(one['license'] or 'not named')}**"
        for one in release["models"]
    )


def _target(request: ReleaseRequest, built: BuiltTarget) -> dict[str, Any]:
    plan, decisions = built.plan, built.decisions
    jurisdiction, hardware = plan.jurisdiction, plan.hardware
    counts = Counter(decision.status for decision in decisions)
    return {
        "name": str(plan.name),
        "image": str(built.image.manifest.digest),
        "base": str(request.base),
        "paths": sorted({str(path) for one in decisions for path in one.paths}),
        "retention": jurisdiction.retention(request.data_class).as_dict(),
        "regions": [str(region) for region in sorted(plan.regions)],
        "registry": plan.registry,
        "jurisdiction": {
            "id": jurisdiction.id,
            "name": jurisdiction.name,
            "inherits": list(jurisdiction.parents),
            "confidence": jurisdiction.confidence.value,
            "reviewed": jurisdiction.reviewed,
        },
        "hardware": {
            "id": hardware.id,
            "name": hardware.name,
            "export_class": hardware.export_class,
            "proven": hardware.proven.value,
        },
        "uncertain": list(jurisdiction.uncertain),
        "summary": {status.value: counts[status] for status in ORDER},
        "decisions": [
            decision.as_dict()
            for decision in sorted(
                decisions, key=lambda one: (ORDER.index(one.status), one.control)
            )
        ],
    }


def _summary(target: Mapping[str, Any]) -> str:
    return " · ".join(f"{count} {status}" for status, count in target["summary"].items() if count)


def _row(decision: Mapping[str, Any]) -> str:
    why = f"{decision['requirement']} — {decision['why']}"
    if "remedy" in decision:
        why += f" **{decision['remedy']}**"
    for path in decision.get("paths", ()):
        why += f" Legal path: {path['mechanism']}, {path['law']['name']} ({_source(path['law'])})."
    law = decision.get("law")
    cells = [
        decision["control"],
        decision["status"],
        why,
        ", ".join(f"`{name}`" for name in decision["by"]),
        f"{_titled(law)} ({_source(law)})" if law else "",
    ]
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _titled(law: Mapping[str, str]) -> str:
    return law["name"] if law["article"] == "none" else f"{law['name']}, {law['article']}"


def _source(law: Mapping[str, str]) -> str:
    if law["confidence"] == Confidence.MEMORY.value:
        return "from memory, not looked up"
    return f"confidence {law['confidence']}, reviewed {law['reviewed']}, {law['source']}"


def _cell(text: str) -> str:
    """Text that cannot break out of its place in Markdown."""
    for special, written in (
        ("\\", "\\\\"),
        ("|", "\\|"),
        ("<", "&lt;"),
        ("\n", " "),
        ("[", "\\["),
    ):
        text = text.replace(special, written)
    return text
