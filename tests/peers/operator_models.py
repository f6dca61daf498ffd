"""Holds documents for KServe and Kyverno to the models that are generated from their own schemas.

KServe's come from its SDK, Kyverno's from `cloudcoil-models-kyverno`; Kubernetes' own parts of them
from Kubernetes' client. Documents come as a JSON list on standard input; a list of lists of
complaints goes to standard output. `.ci/run` makes the environment.
"""

import datetime
import importlib
import importlib.util
import json
import re
import sys
import types
from pathlib import Path

KSERVE = {"InferenceService": "V1beta1InferenceService", "ServingRuntime": "V1alpha1ServingRuntime"}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}
# The API takes numbers there as well, the client's types say text alone.
QUANTITIES = ("limits", "requests", "sizeLimit")


def kserve_models():
    """KServe's models alone: the rest of the SDK is a server with many needs."""
    place = Path(importlib.util.find_spec("kserve").submodule_search_locations[0])
    package = types.ModuleType("kserve")
    package.__path__ = [str(place)]
    sys.modules["kserve"] = package
    models = types.ModuleType("kserve.models")
    models.__path__ = [str(place / "models")]
    sys.modules["kserve.models"] = models


def class_of(name):
    file = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    for package in ("kserve.models", "kubernetes.client.models"):
        try:
            return getattr(importlib.import_module(f"{package}.{file}"), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"no model {name} ({file})")


def complaints(kind, value, where):
    """What does not fit, by the types that a generated model writes down."""
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [
            one
            for number, item in enumerate(value)
            for one in complaints(match[1], item, f"{where}[{number}]")
        ]
    if match := re.fullmatch(r"[Dd]ict[(\[](\w+), (.+)[)\]]", kind):
        if not isinstance(value, dict):
            return [f"{where}: not a mapping"]
        return [
            one
            for key, item in value.items()
            for one in complaints(match[2], item, f"{where}.{key}")
        ]
    if kind in PLAIN:
        fits = isinstance(value, PLAIN[kind]) and not (kind == "int" and isinstance(value, bool))
        return [] if fits else [f"{where}: not of type {kind}"]
    if kind == "datetime":
        return [] if isinstance(value, (str, datetime.datetime)) else [f"{where}: no time"]
    return of_model(class_of(kind), value, where)


def of_model(model, value, where):
    if not isinstance(value, dict):
        return [f"{where}: not a mapping"]
    names = {written: name for name, written in model.attribute_map.items()}
    found = []
    for key, item in value.items():
        if key not in names:
            found.append(f"{where}.{key}: {model.__name__} has no such field")
        elif key not in QUANTITIES:
            found += complaints(model.openapi_types[names[key]], item, f"{where}.{key}")
        elif any(type(one) not in (int, str) for one in quantities(item)):
            found.append(f"{where}.{key}: no quantity")
    return found


def quantities(item):
    return item.values() if isinstance(item, dict) else [item]


def of_kyverno(document):
    """Read and written again it must be the same: the models drop what they do not know."""
    module = importlib.import_module("cloudcoil.models.kyverno.v1")
    try:
        read = getattr(module, document["kind"]).model_validate(document)
    except ValueError as error:
        return [str(error)]
    written = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    return [] if written == document else [f"dropped: {differing(document, written)}"]


def differing(one, other, where=""):
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            place for key in one for place in differing(one[key], other.get(key), f"{where}.{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [place for number, pair in pairs for place in differing(*pair, f"{where}[{number}]")]
    return [] if one == other else [where]


kserve_models()
answer = []
for document in json.load(sys.stdin):
    if document["apiVersion"].startswith("serving.kserve.io/"):
        answer.append(of_model(class_of(KSERVE[document["kind"]]), document, document["kind"]))
    else:
        answer.append(of_kyverno(document))
json.dump(answer, sys.stdout)
