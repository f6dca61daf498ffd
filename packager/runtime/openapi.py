"""The server's own description as an OpenAPI 3.1 document, at `/openapi.json`.

Paths come from the table of routes, so a feature that registers a path is described as well; the
bodies of inference are described by the tensors of the models in service.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import VERSION
from .access import Access
from .exchange import Exchange, Response
from .models import Models
from .routes import Kind, Route, Routes

_OPEN = re.compile(r"\{([a-z_]+)\}")
_ERROR = {"$ref": "#/components/schemas/error"}
_OBJECT: dict[str, Any] = {"type": "object"}


class OpenApi:
    """The handler of `/openapi.json`."""

    def __init__(self, routes: Routes, models: Callable[[], Models], access: Access) -> None:
        self._routes = routes
        self._models = models
        self._access = access

    def __call__(self, _: Exchange) -> Response:
        document: dict[str, Any] = {
            "openapi": "3.1.0",
            "info": {"title": "packager-runtime", "version": VERSION},
            "paths": {route.pattern: _path(route, self._models()) for route in self._routes.all()},
            "components": {"schemas": _SCHEMAS},
        }
        if self._access.asks:
            document["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            document["security"] = [{"bearer": []}, {"key": []}]
        return Response.of(document)


def _path(route: Route, models: Models) -> dict[str, Any]:
    described: dict[str, Any] = {
        method.lower(): _operation(route, method) for method in route.handlers
    }
    names = _OPEN.findall(route.pattern)
    if names:
        described["parameters"] = [_parameter(name, models) for name in names]
    return described


def _parameter(name: str, models: Models) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name == "model" and models.by_name:
        schema["enum"] = sorted(models.by_name)
    if name == "version" and models.by_name:
        schema["enum"] = sorted({v for versions in models.by_name.values() for v in versions})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(route: Route, method: str) -> dict[str, Any]:
    refusals = ["404", "405", "429", "431"]
    if route.kind is not Kind.HEALTH:
        refusals += ["401", "503"]
    if method == "POST":
        refusals += ["400", "408", "413", "415"]
    if route.kind is Kind.INFERENCE:
        refusals += ["500"]
    if route.kind is Kind.HEALTH:
        refusals += ["503"]
    content = _CONTENT.get(route.pattern, "application/json")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()} {route.pattern}",
        "responses": {
            "200": {"description": "OK", "content": {content: {"schema": _answer(route)}}},
            **{
                status: {
                    "description": "refused",
                    "content": {"application/json": {"schema": _refusal(route, status)}},
                }
                for status in sorted(refusals)
            },
        },
    }
    if route.kind is Kind.HEALTH:
        operation["security"] = []
    if route.kind is Kind.INFERENCE and not route.pattern.endswith("/infer"):
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _INPUT}},
        }
    if route.pattern.endswith("/infer"):
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/request"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
        operation["responses"]["200"]["content"]["application/octet-stream"] = {
            "schema": {"type": "string", "format": "binary"}
        }
    return operation


def _refusal(route: Route, status: str) -> dict[str, Any]:
    """A health check that fails tells the same object as one that passes."""
    return _OBJECT if route.kind is Kind.HEALTH and status == "503" else _ERROR


def _answer(route: Route) -> dict[str, Any]:
    if route.pattern.endswith("/infer"):
        return {"$ref": "#/components/schemas/response"}
    if route.pattern in _CONTENT:
        return {"type": "string"}
    return {"type": "array"} if route.pattern == "/v2/repository/index" else _OBJECT


_INPUT: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {
        "model": {"type": "string"},
        "input": {"type": ["string", "array"], "items": {"type": "string"}},
        "encoding_format": {"type": "string", "enum": ["float", "base64"]},
    },
}
_CONTENT = {"/": "text/html", "/metrics": "text/plain"}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string"},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
}
_SCHEMAS: dict[str, Any] = {
    "error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": ["string", "object"]}},
    },
    "request": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "properties": {
                    "binary_data_output": {"type": "boolean"},
                    "priority": {"type": "integer", "minimum": 0},
                    "timeout": {"type": "integer", "minimum": 0},
                },
            },
            "inputs": {"type": "array", "items": _TENSOR},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
                },
            },
        },
    },
    "response": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": _TENSOR},
        },
    },
}
