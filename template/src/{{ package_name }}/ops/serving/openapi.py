"""The description of the service, made from the contract of the model that answers."""

import base64
import hashlib
import re
from typing import Any

from ..contract import Contract
from .feedback import ID_PATTERN, SHAPES, shape
from .service import Service

TITLE = "Predictions"

NO_SOURCES = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


TEXT = {"type": "string"}

SCHEMAS = {
    "Detail": _object({"detail": TEXT}),
    "Health": _object({"status": {"const": "alive"}}),
    "Ready": _object({"ready": {"type": "boolean"}, "model_version": {"type": ["string", "null"]}}),
    "Version": _object(
        {
            **dict.fromkeys(
                ("model_version", "digest", "git_commit", "data_hash", "created", "contract"), TEXT
            ),
            "shadow_version": {"type": ["string", "null"]},
        }
    ),
    "Example": {"type": ["object", "null"]},
}


def _read(tag: str, summary: str, schema: str, unready: str = "") -> dict[str, Any]:
    """A route that is read, and what it says while there is no model, if that is another thing."""
    responses = {"200": {"description": "The answer", **_content(_reference(schema))}}
    if unready:
        responses["503"] = {"description": "No model yet", **_content(_reference(unready))}
    return {"summary": summary, "tags": [tag], "responses": responses}


READS = {
    "/health": _read("operations", "Whether the process is alive", "Health"),
    "/ready": _read("operations", "Whether a model is loaded and warmed", "Ready", "Ready"),
    "/version": _read("operations", "Which model answers", "Version", "Detail"),
    "/example": _read("model", "A row that can be scored, to try things with", "Example", "Detail"),
    "/metrics": {
        "summary": "Metrics, for Prometheus",
        "tags": ["operations"],
        "responses": {"200": {"description": "The metrics", "content": {METRICS_TYPE: {}}}},
    },
}


def page_policy(page: str) -> str:
    """A policy that lets the page run its own script and style, and ask this service only."""
    policy = [NO_SOURCES, "connect-src 'self'", "img-src data:"]
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = hashlib.sha256((found[1] if found else "").encode()).digest()
        policy.append(f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'")
    return "; ".join(policy)


def describe(service: Service) -> dict[str, Any]:
    """The description of all routes."""
    schemas: dict[str, Any] = dict(SCHEMAS)
    page: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "0"},
        "paths": {path: {"get": read} for path, read in READS.items()},
        "components": {"schemas": schemas},
    }
    if service.keys:
        page["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    if service.model is None:
        return page
    contract = service.model.bundle.contract
    page["info"]["version"] = service.model.version
    row = service.model.reader.schema()
    if service.model.example is not None:
        row["examples"] = [service.model.example]
    for column in contract.inputs:  # what the page's form is made of
        form = {
            "x-kind": column.kind,
            "x-choices": list(column.choices or ()),
            "x-number": column.dtype.startswith(("Int", "UInt", "Float")),
        }
        row["properties"][column.name] |= form
    schemas |= {
        "Row": row,
        "Answer": answer(contract),
        "Feedback": feedback(contract),
        "Accepted": _object({"accepted": {"type": "integer", "minimum": 1}}),
        "Refusal": REFUSAL,
    }
    most = service.settings.max_rows
    refusals = {"422": ("The row breaks the contract", "Refusal")}
    page["paths"]["/predict"] = {
        "post": _operation(
            service, "predict", "Score one row, or many", "Row", most, "200", "Answer", refusals
        )
    }
    page["paths"]["/feedback"] = {
        "post": _operation(
            service, "feedback", "Tell what became of a prediction, or of many", "Feedback", most,
            "202", "Accepted", refusals, one_answer=True,
        )
    }  # fmt: skip
    return page


def answer(contract: Contract) -> dict[str, Any]:
    """What a caller gets for a row."""
    made: dict[str, Any] = {
        "prediction_id": {"type": "string", "description": "Names the row in feedback."},
        "model_version": {"type": "string"},
        "prediction": _target(contract),
    }
    if contract.classes:
        share = {"type": "number", "minimum": 0, "maximum": 1.000001}
        made["probabilities"] = _object(dict.fromkeys(contract.classes, share))
        return _object(made)
    number = {"type": "number"}
    whole = _object(made)
    whole["properties"]["interval"] = _object({"low": number, "high": number, "coverage": number})
    return whole


def feedback(contract: Contract) -> dict[str, Any]:
    """The truth for a prediction."""
    return _object(
        {
            "prediction_id": {"type": "string", "pattern": ID_PATTERN},
            "truth": {"title": contract.target.name, "type": SHAPES[shape(contract.target)][0]},
        }
    ) | {"additionalProperties": True}


REFUSAL: dict[str, Any] = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {"type": "string"},
        "violations": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["row", "field", "rule", "value", "message"],
                "properties": {
                    "row": {"type": "integer", "minimum": 0},
                    "field": {"type": ["string", "null"]},
                    "rule": {"type": "string"},
                    "value": {},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


def _target(contract: Contract) -> dict[str, Any]:
    if contract.target.choices is None:
        return {"title": contract.target.name, "type": "number"}
    return {"title": contract.target.name, "enum": list(contract.target.choices)}


def _operation(
    service: Service,
    name: str,
    summary: str,
    item: str,
    most: int,
    status: str,
    result: str,
    refusals: dict[str, tuple[str, str]],
    one_answer: bool = False,
) -> dict[str, Any]:
    def many(schema: str) -> dict[str, Any]:
        rows = {"type": "array", "items": _reference(schema), "minItems": 1, "maxItems": most}
        return {"anyOf": [_reference(schema), rows]}

    turned = {
        "400": ("The body is no JSON of the right shape", "Detail"),
        "408": ("The body came too slowly", "Detail"),
        "413": ("Too many rows or bytes", "Detail"),
        "415": ("The body is not declared as JSON", "Detail"),
        "503": ("No model yet, or too many requests at once", "Detail"),
        **refusals,
    }
    if service.keys:
        turned["401"] = ("No key, or a wrong one", "Detail")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "tags": ["model"],
        "requestBody": {"required": True, **_content(many(item))},
        "responses": {
            status: {
                "description": "The answer",
                **_content(_reference(result) if one_answer else many(result)),
            },
            **{
                code: {"description": meaning, **_content(_reference(schema))}
                for code, (meaning, schema) in sorted(turned.items())
            },
        },
    }
    if service.keys:
        operation["security"] = [{"key": []}, {"header": []}]
    return operation
