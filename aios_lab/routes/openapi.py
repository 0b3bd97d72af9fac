"""The OpenAPI 3.1 document, made from the route table and the wire types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http.client import responses
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aios_lab import __version__, wire
from aios_lab.routes.call import Route

# What clients send may leave out what has a default; in what they receive every field is present.
SENT_BY_CLIENTS = ("Request", "Update", "Metric", "Subscribe")
_REF = "#/components/schemas/{model}"


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole API. Every wire type is in it, also those that only the websocket sends."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(f"/aios/api/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "AIOS Lab", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "jupyter": {"type": "apiKey", "in": "header", "name": "Authorization"},
                "kernel": {"type": "apiKey", "in": "header", "name": "X-AIOS-Token"},
            },
        },
        "security": [{"jupyter": []}, {"kernel": []}],
    }


def _schemas() -> dict[str, Any]:
    models = [
        one
        for one in vars(wire).values()
        if isinstance(one, type) and issubclass(one, wire.Wire) and one is not wire.Wire
    ]
    wanted: list[tuple[type[BaseModel], Any]] = [
        (one, "validation" if one.__name__.endswith(SENT_BY_CLIENTS) else "serialization") for one in models
    ]
    _, schema = models_json_schema(wanted, ref_template=_REF)
    return dict(schema["$defs"])


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.call.__name__,
        "summary": route.about,
        "tags": [route.path.split("/")[0]],
        "parameters": _parameters(route),
        "responses": {str(status): _response(status, kind) for status, kind in route.answer.items()},
    }
    operation["responses"]["4XX"] = _response(0, wire.Problem)
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    ids = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    query = [
        {
            "name": one.name,
            "in": "query",
            "description": one.about,
            "schema": {"type": "number", "minimum": one.low, "maximum": one.high, "default": one.default},
        }
        for one in route.query
    ]
    return [*ids, *query]


def _response(status: int, kind: Any) -> dict[str, Any]:
    return {"description": responses.get(status, "The request cannot be done."), "content": _content(kind)}


def _content(kind: Any) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _schema(kind)}}


def _schema(kind: Any) -> dict[str, Any]:
    if inner := get_args(kind):
        return {"type": "array", "items": _schema(inner[0])}
    if kind is dict:
        return {"type": "object"}
    return {"$ref": _REF.format(model=kind.__name__)}
