"""The description of the service, made from the contract of the model that answers."""

import base64
import copy
import hashlib
import re
from typing import Any, Literal

from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from ..contract import Contract
from .guard import NO_SOURCES
from .service import ID_PATTERN, Service
from .truth import SHAPES, shape

TITLE = "Predictions"


class Health(BaseModel):
    """The process is alive."""

    status: Literal["alive"]


class Ready(BaseModel):
    """Whether a model is loaded, and which."""

    ready: bool
    model_version: str | None


class Version(BaseModel):
    """Which model answers, and where it comes from."""

    model_version: str
    digest: str
    git_commit: str
    data_hash: str
    created: str
    contract: str
    shadow_version: str | None


class Detail(BaseModel):
    """Why there is no answer, in one sentence."""

    detail: str


class PlainText(PlainTextResponse):
    """Metrics in Prometheus' text format."""

    media_type = "text/plain; version=0.0.4; charset=utf-8"


def page_policy(page: str) -> str:
    """A policy that lets the page run its own script and style, and ask this service only."""
    policy = [NO_SOURCES.decode(), "connect-src 'self'", "img-src data:"]
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = hashlib.sha256((found[1] if found else "").encode()).digest()
        policy.append(f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'")
    return "; ".join(policy)


def describe(routes: dict[str, Any], service: Service) -> dict[str, Any]:
    """Add the routes in front of FastAPI to its description of the others."""
    page = copy.deepcopy(routes)
    schemas = page.setdefault("components", {}).setdefault("schemas", {})
    schemas["Detail"] = Detail.model_json_schema()
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
        form = {"x-kind": column.kind, "x-choices": list(column.choices or ())}
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


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


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
    def reference(schema: str) -> dict[str, str]:
        return {"$ref": f"#/components/schemas/{schema}"}

    def content(schema: dict[str, Any]) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": schema}}}

    def many(schema: str) -> dict[str, Any]:
        rows = {"type": "array", "items": reference(schema), "minItems": 1, "maxItems": most}
        return {"anyOf": [reference(schema), rows]}

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
        "requestBody": {"required": True, **content(many(item))},
        "responses": {
            status: {
                "description": "The answer",
                **content(reference(result) if one_answer else many(result)),
            },
            **{
                code: {"description": meaning, **content(reference(schema))}
                for code, (meaning, schema) in sorted(turned.items())
            },
        },
    }
    if service.keys:
        operation["security"] = [{"key": []}, {"header": []}]
    return operation
