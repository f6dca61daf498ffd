"""The compliance record in OSCAL (NIST): the controls, how they are met, what was found.

Three documents that name each other: a catalog with one control for each decision's rule, a
component definition that says how each target implements them, and assessment results with an
observation for each decision and a finding wherever it applies. An identifier is a UUIDv5 of the
record's content, so that the same release has the same bytes. What is left to the operator is *not
satisfied* here, with that reason: the release alone does not meet it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.decision import Status

OSCAL_VERSION = "1.2.1"
NAMESPACE = "https://packager.invalid/ns/oscal"  # names our properties; resolves to nothing
CATALOG, COMPONENTS, RESULTS = (
    "catalog.json",
    "component-definition.json",
    "assessment-results.json",
)
_MET = (Status.ENFORCED.value, Status.EVIDENCED.value)
Json = dict[str, Any]


def oscal_documents(record: Mapping[str, Any]) -> dict[str, Json]:
    """File name → document, from a compliance record with `created` and `evidence`."""
    root = uuid5(uuid5(NAMESPACE_URL, NAMESPACE), str(Digest.of(dumps(record))))
    return {
        CATALOG: {"catalog": _catalog(record, root)},
        COMPONENTS: {"component-definition": _components(record, root)},
        RESULTS: {"assessment-results": _results(record, root)},
    }


def control_id(control: str) -> str:
    """A control's name as an OSCAL token: `de/sgb5-c5` becomes `de.sgb5-c5`."""
    return control.replace("/", ".")


def _catalog(record: Mapping[str, Any], root: UUID) -> Json:
    found = {one["control"]: one for target in record["targets"] for one in target["decisions"]}
    groups: dict[str, list[Json]] = {}
    for control, decision in sorted(found.items()):
        groups.setdefault(control.partition("/")[0], []).append(_control(control, decision))
    return {
        "uuid": _uuid(root, "catalog"),
        "metadata": _metadata(record, "Controls"),
        "groups": [
            {"id": owner, "title": f"Rules of {owner}", "controls": controls}
            for owner, controls in groups.items()
        ],
    }


def _control(control: str, decision: Mapping[str, Any]) -> Json:
    name = control_id(control)
    described: Json = {
        "id": name,
        "title": control,
        "parts": [{"id": f"{name}_smt", "name": "statement", "prose": decision["requirement"]}],
    }
    if law := decision.get("law"):
        described["props"] = [
            _property("law", law["name"]),
            _property("article", law["article"]),
            _property("confidence", law["confidence"]),
            _property("reviewed", law["reviewed"]),
            _property("source", law["source"]),
        ]
        if law["source"].startswith("https://"):
            described["links"] = [{"href": law["source"], "rel": "reference"}]
    return described


def _components(record: Mapping[str, Any], root: UUID) -> Json:
    return {
        "uuid": _uuid(root, "component-definition"),
        "metadata": _metadata(record, "Components"),
        "components": [
            {
                **_component(record, target, root),
                "control-implementations": [
                    {
                        "uuid": _uuid(root, target["name"], "controls"),
                        "source": CATALOG,
                        "description": f"How {target['name']} meets the controls.",
                        "implemented-requirements": [
                            _requirement(target, decision, root) for decision in target["decisions"]
                        ],
                    }
                ],
            }
            for target in record["targets"]
        ],
    }


def _component(record: Mapping[str, Any], target: Mapping[str, Any], root: UUID) -> Json:
    release = record["release"]
    return {
        "uuid": _uuid(root, target["name"]),
        "type": "software",
        "title": f"{release['name']} {release['version']} for {target['name']}",
        "description": f"A model with its server as one image, for {target['jurisdiction']['name']}"
        f" on {target['hardware']['name']}.",
        "props": [
            _property("image", target["image"]),
            _property("jurisdiction", target["jurisdiction"]["id"]),
            _property("hardware", target["hardware"]["id"]),
            _property("data-class", release["data_class"]),
        ],
    }


def _requirement(target: Mapping[str, Any], decision: Mapping[str, Any], root: UUID) -> Json:
    return {
        "uuid": _uuid(root, target["name"], decision["control"], "requirement"),
        "control-id": control_id(decision["control"]),
        "description": decision["why"],
        "props": [
            _property("status", decision["status"]),
            *(_property("by", name) for name in decision["by"]),
            *(_property("legal-path", _path(path)) for path in decision.get("paths", ())),
        ],
    }


def _path(path: Mapping[str, Any]) -> str:
    return (
        f"{path['mechanism']} to {', '.join(path['countries'])}: {path['law']['name']}, "
        f"{path['law']['article']}; declared: {path['document']}, {path['dated']}, "
        f"with {path['recipient']}"
    )


def _results(record: Mapping[str, Any], root: UUID) -> Json:
    plan = _uuid(root, "plan")
    return {
        "uuid": _uuid(root, "assessment-results"),
        "metadata": _metadata(record, "Assessment results"),
        "import-ap": {"href": f"#{plan}"},
        "results": [_result(record, target, root) for target in record["targets"]],
        "back-matter": {
            "resources": [
                {
                    "uuid": plan,
                    "title": "No assessment plan",
                    "description": "The rules of the named profiles were decided by a program; "
                    f"there was no plan beside them. {record['disclaimer']}",
                }
            ]
        },
    }


def _result(record: Mapping[str, Any], target: Mapping[str, Any], root: UUID) -> Json:
    decisions = target["decisions"]
    applying = [one for one in decisions if one["status"] != Status.NOT_APPLICABLE.value]
    result: Json = {
        "uuid": _uuid(root, target["name"], "result"),
        "title": target["name"],
        "description": f"Every rule of {target['jurisdiction']['id']} and every check of the "
        f"hardware, decided for {target['name']}.",
        "start": record["created"],
        "end": record["created"],
        "local-definitions": {
            "components": [
                {
                    **_component(record, target, root),
                    "status": {
                        "state": "other",
                        "remarks": "Released; whether it runs is known at the site.",
                    },
                }
            ]
        },
        "reviewed-controls": {
            "control-selections": [
                {"include-controls": [{"control-id": control_id(d["control"])} for d in decisions]}
            ]
        },
        "observations": [_observation(record, target, one, root) for one in decisions],
    }
    if applying:
        result["findings"] = [_finding(target, decision, root) for decision in applying]
    return result


def _observation(
    record: Mapping[str, Any], target: Mapping[str, Any], decision: Mapping[str, Any], root: UUID
) -> Json:
    observation: Json = {
        "uuid": _uuid(root, target["name"], decision["control"], "observation"),
        "title": decision["control"],
        "description": decision["why"],
        "props": [_property("status", decision["status"])],
        "methods": ["EXAMINE"],
        "subjects": [{"subject-uuid": _uuid(root, target["name"]), "type": "component"}],
        "collected": record["created"],
    }
    if decision["by"]:
        observation["relevant-evidence"] = [
            _evidence(name, record["evidence"].get(name)) for name in decision["by"]
        ]
    return observation


def _evidence(name: str, digest: str | None) -> Json:
    """A file of the release, relative to this folder (`evidence/oscal/`)."""
    evidence: Json = {"href": f"../../{name}", "description": name}
    if digest:
        evidence["props"] = [_property("digest", digest)]
    return evidence


def _finding(target: Mapping[str, Any], decision: Mapping[str, Any], root: UUID) -> Json:
    status = decision["status"]
    state: Json = {"state": "satisfied" if status in _MET else "not-satisfied"}
    if status not in _MET:
        state["reason"] = "other" if status == Status.LEFT_TO_OPERATOR.value else "fail"
        state["remarks"] = decision.get("remedy") or f"{status}: {decision['why']}"
    observation = _uuid(root, target["name"], decision["control"], "observation")
    return {
        "uuid": _uuid(root, target["name"], decision["control"], "finding"),
        "title": decision["control"],
        "description": decision["why"],
        "target": {
            "type": "statement-id",
            "target-id": f"{control_id(decision['control'])}_smt",
            "status": state,
        },
        "related-observations": [{"observation-uuid": observation}],
    }


def _metadata(record: Mapping[str, Any], what: str) -> Json:
    release = record["release"]
    return {
        "title": f"{what} of {release['name']} {release['version']}",
        "last-modified": record["created"],
        "version": release["version"],
        "oscal-version": OSCAL_VERSION,
        "remarks": record["disclaimer"],
    }


def _property(name: str, value: str) -> Json:
    return {"name": name, "ns": NAMESPACE, "value": " ".join(value.split())}


def _uuid(root: UUID, *path: str) -> str:
    return str(uuid5(root, "\n".join(path)))
