"""Asks a ValidatingAdmissionPolicy what it says to an object, as the API server would.

CEL is evaluated by CEL's own C++ implementation (cel-expr-python). What the API server does around
it is here: bindings, match conditions, variables, and that an expression which fails to evaluate
refuses under `failurePolicy: Fail`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cel_expr_python import cel

_NAMES = dict.fromkeys(("object", "oldObject", "request", "variables"), cel.Type.DYN)


def refusals(
    policy_documents: Sequence[dict[str, Any]],
    target: dict[str, Any],
    *,
    resource: str = "pods",
    group: str = "",
    before: dict[str, Any] | None = None,
) -> list[str]:
    """The messages of every rule that denies `target`; empty when it is admitted."""
    bound = {
        one["spec"]["policyName"]
        for one in policy_documents
        if one["kind"] == "ValidatingAdmissionPolicyBinding"
        and "Deny" in one["spec"]["validationActions"]
    }
    operation = "CREATE" if before is None else "UPDATE"
    said: list[str] = []
    for policy in policy_documents:
        if policy["kind"] != "ValidatingAdmissionPolicy" or policy["metadata"]["name"] not in bound:
            continue
        if _selects(policy["spec"]["matchConstraints"], target, before) and any(
            resource in rule["resources"]
            and group in rule["apiGroups"]
            and operation in rule["operations"]
            for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        ):
            said += _denied(policy["spec"], target, before, operation)
    return said


def _selects(
    constraints: dict[str, Any], target: dict[str, Any], before: dict[str, Any] | None
) -> bool:
    """Whether the policy looks at the object by its labels, or at what it was (objectSelector)."""
    selector = constraints.get("objectSelector") or {}
    return any(
        _labelled(selector, one["metadata"].get("labels") or {}) for one in (target, before) if one
    )


def _labelled(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    rules = selector.get("matchExpressions") or ()
    assert {rule["operator"] for rule in rules} <= {"NotIn"}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        labels.get(rule["key"]) not in rule["values"] for rule in rules
    )


def _denied(
    spec: dict[str, Any], target: dict[str, Any], before: dict[str, Any] | None, operation: str
) -> list[str]:
    environment = cel.NewEnv(variables=_NAMES)
    known = {"object": target, "oldObject": before, "request": {"operation": operation}}

    def value(expression: str) -> Any:
        data = {**known, "variables": variables}
        return environment.compile(expression).eval(data=data).plain_value()

    variables: dict[str, Any] = {}
    for condition in spec.get("matchConditions", ()):
        if value(condition["expression"]) is not True:
            return []
    for variable in spec.get("variables", ()):
        variables[variable["name"]] = value(variable["expression"])
    assert spec["failurePolicy"] == "Fail"
    return [rule["message"] for rule in spec["validations"] if _fails(value, rule["expression"])]


def _fails(value: Any, expression: str) -> bool:
    """Not true, or an error, which `failurePolicy: Fail` takes for a refusal."""
    try:
        return value(expression) is not True
    except Exception as error:  # whatever the library raises for a CEL error
        assert "compile" not in type(error).__name__.lower(), error
        return True
