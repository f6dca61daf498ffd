"""What the API server itself refuses in a release's namespace, in CEL (ValidatingAdmissionPolicy).

A manifest holds only for whoever uses it; an admission policy holds for all who may create pods.
The namespace is the release's alone, so every pod in it runs the release's image, by digest, in the
release's places, and stores nothing; and no network policy there opens a way out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from packager.render.placement import NodeLabel, Place

_AFFINITY = "object.spec.affinity"
_REQUIRED = f"{_AFFINITY}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
_FROM_MEMORY = ("configMap", "downwardAPI", "projected", "secret")


@dataclass(frozen=True, slots=True)
class Variable:
    """A name in the expressions of one policy, and what it stands for."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Validation:
    """A CEL expression that must be true, and what is said when it is not."""

    expression: str
    message: str


@dataclass(frozen=True, slots=True)
class Admission:
    """The policies of one target: for its pods, and for network policies beside them."""

    variables: tuple[Variable, ...]
    pods: tuple[Validation, ...]
    networks: tuple[Validation, ...]


def admission(name: str, image: str, places: Sequence[Place]) -> Admission:
    """The rules for a target whose network policy is `name`."""
    regions = ", ".join(str(place.region) for place in places if place.region)
    return Admission(
        variables=(
            Variable("images", " + ".join(_images(kind) for kind in _CONTAINERS)),
            Variable(
                "terms",
                f"has({_AFFINITY}) && has({_AFFINITY}.nodeAffinity) && has({_REQUIRED})"
                f" ? {_REQUIRED}.nodeSelectorTerms : []",
            ),
        ),
        pods=(
            Validation(
                f"variables.images.all(one, one == {_text(image)})",
                f"only {image} runs here, by this digest",
            ),
            Validation(
                "variables.terms.size() > 0 && variables.terms.all(term, "
                f"has(term.matchExpressions) && ({' || '.join(map(_in_place, places))}))",
                "a pod must require a node in the release's own places"
                + (f": {regions}" if regions else ""),
            ),
            Validation(
                'request.operation != "CREATE" || !has(object.spec.nodeName)',
                "a pod that names its node passes the scheduler by, and with it the places",
            ),
            Validation(
                "!has(object.spec.hostNetwork) || !object.spec.hostNetwork",
                "a pod on the host's network is held by no network policy",
            ),
            Validation(
                "!has(object.spec.volumes) || object.spec.volumes.all(volume, "
                'has(volume.emptyDir) && has(volume.emptyDir.medium) && volume.emptyDir.medium == "'
                'Memory" || ' + " || ".join(f"has(volume.{kind})" for kind in _FROM_MEMORY) + ")",
                "what a pod can write to is memory: nothing of a request reaches a disk",
            ),
        ),
        networks=(
            Validation(
                "!has(object.spec.egress) || object.spec.egress.size() == 0",
                "no network policy opens a way out of this namespace",
            ),
            Validation(
                f"object.metadata.name != {_text(name)} || "
                "has(object.spec.policyTypes) && "
                'object.spec.policyTypes.exists(one, one == "Egress") && '
                "(!has(object.spec.podSelector.matchLabels) && "
                "!has(object.spec.podSelector.matchExpressions))",
                "the release's own network policy closes the way out for every pod",
            ),
        ),
    )


_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def _images(kind: str) -> str:
    field = f"object.spec.{kind}"
    return f'(has({field}) ? {field}.map(one, has(one.image) ? one.image : "") : [])'


def _in_place(place: Place) -> str:
    """Whether a term asks for all labels that say where a node stands; more is no harm."""
    told = [label for label in place.labels if label.set_by != "node"]
    return f"({' && '.join(map(_asks_for, told))})"


def _asks_for(label: NodeLabel) -> str:
    return (
        f"term.matchExpressions.exists(rule, rule.key == {_text(label.key)} && "
        f'rule.operator == "In" && has(rule.values) && rule.values == [{_text(label.value)}])'
    )


def _text(value: str) -> str:
    """A CEL string; its escapes are those of JSON."""
    return json.dumps(value)
