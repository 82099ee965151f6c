"""The description of the service, made from the contract of the model that answers."""

import base64
import hashlib
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..contract import Contract
from .feedback import SHAPES, Feedback, shape
from .requests import Violation
from .service import Service

NO_SOURCES = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""


class Detail(msgspec.Struct):
    """Why there is no answer, in one sentence."""

    detail: str


class Refusal(msgspec.Struct):
    """Why rows are refused."""

    detail: str
    violations: list[Violation] = []


class Accepted(msgspec.Struct):
    """How many truths were taken."""

    accepted: Annotated[int, Meta(ge=1)]


class Health(msgspec.Struct):
    """The process is alive."""

    status: Literal["alive"]


class Ready(msgspec.Struct):
    """Whether a model is loaded, and which."""

    ready: bool
    model_version: str | None


class Version(msgspec.Struct):
    """Which model answers, and where it comes from."""

    model_version: str
    digest: str
    git_commit: str
    data_hash: str
    created: str
    contract: str
    shadow_version: str | None


REFERENCE = "#/components/schemas/{name}"

TYPES = (Detail, Refusal, Accepted, Health, Ready, Version, Feedback)

READ = {
    "/health": ("operations", "Whether the process is alive", "Health", ""),
    "/ready": ("operations", "Whether a model is loaded and warmed", "Ready", "Ready"),
    "/version": ("operations", "Which model answers", "Version", "Detail"),
    "/example": ("model", "A row that can be scored, to try things with", "Example", "Detail"),
}
"""For each route that is read: its tag, what it tells, and in which schema; and in which it is told
that there is no model, where the route needs one."""

TURNED_AWAY = {
    "400": "The body is no JSON of the right shape",
    "401": "No key, or a wrong one",
    "408": "The body came too slowly",
    "413": "Too many rows or bytes",
    "415": "The body is not declared as JSON",
    "503": "No model yet, or too many requests at once",
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
    _, schemas = msgspec.json.schema_components(TYPES, ref_template=REFERENCE)
    schemas["Example"] = {"type": ["object", "null"]}
    paths: dict[str, Any] = {path: {"get": _read(*told)} for path, told in READ.items()}
    paths["/metrics"] = {
        "get": {
            "summary": "Metrics, for Prometheus",
            "tags": ["operations"],
            "responses": {"200": {"description": "The metrics", "content": {METRICS_TYPE: {}}}},
        }
    }
    page: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Predictions", "version": "0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if service.keys:
        page["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    if service.model is not None:
        contract, reader = service.model.bundle.contract, service.model.reader
        page["info"]["version"] = service.model.version
        schemas["Row"] = _row(contract, reader.schema(), service.model.example)
        schemas["Answer"] = _answer(contract)
        truth = {"title": contract.target.name, "type": SHAPES[shape(contract.target)][0]}
        schemas["Feedback"]["properties"]["truth"] = truth
        answers, accepted = _one_or_many(service, "Answer"), _reference("Accepted")
        score, learn = "Score one row, or many", "Tell what became of a prediction, or of many"
        for name, summary, asked, status, answer in (
            ("predict", score, "Row", "200", answers),
            ("feedback", learn, "Feedback", "202", accepted),
        ):
            operation = _write(service, asked, status, answer)
            paths[f"/{name}"] = {"post": {"operationId": name, "summary": summary, **operation}}
    return page


def _row(
    contract: Contract, schema: dict[str, Any], example: dict[str, Any] | None
) -> dict[str, Any]:
    """A row, with what the page's form is made of."""
    for column in contract.inputs:
        schema["properties"][column.name] |= {
            "x-kind": column.kind,
            "x-choices": list(column.choices or ()),
            "x-number": column.dtype.startswith(("Int", "UInt", "Float")),
        }
    return schema if example is None else schema | {"examples": [example]}


def _answer(contract: Contract) -> dict[str, Any]:
    """What a caller gets for a row."""
    target: dict[str, Any] = {"title": contract.target.name, "type": "number"}
    if contract.target.choices is not None:
        target = {"title": contract.target.name, "enum": list(contract.target.choices)}
    text, number = {"type": "string"}, {"type": "number"}
    made = {"prediction_id": text, "model_version": text, "prediction": target}
    if contract.classes:
        share = {"type": "number", "minimum": 0, "maximum": 1.000001}
        return _object(made | {"probabilities": _object(dict.fromkeys(contract.classes, share))})
    whole = _object(made)
    whole["properties"]["interval"] = _object({"low": number, "high": number, "coverage": number})
    return whole


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reference(schema: str) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=schema)}


def _one_or_many(service: Service, schema: str) -> dict[str, Any]:
    one, most = _reference(schema), service.settings.max_rows
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _read(tag: str, summary: str, schema: str, unready: str) -> dict[str, Any]:
    """A route that is read."""
    responses = {"200": {"description": "The answer", **_content(_reference(schema))}}
    if unready:
        responses["503"] = {"description": "No model yet", **_content(_reference(unready))}
    return {"summary": summary, "tags": [tag], "responses": responses}


def _write(service: Service, asked: str, status: str, answer: dict[str, Any]) -> dict[str, Any]:
    """A route that takes one of something, or many."""
    responses = {
        code: {"description": meaning, **_content(_reference("Detail"))}
        for code, meaning in TURNED_AWAY.items()
        if service.keys or code != "401"
    }
    responses["422"] = {
        "description": "It breaks the contract",
        **_content(_reference("Refusal")),
    }
    responses[status] = {"description": "The answer", **_content(answer)}
    operation: dict[str, Any] = {
        "tags": ["model"],
        "requestBody": {"required": True, **_content(_one_or_many(service, asked))},
        "responses": dict(sorted(responses.items())),
    }
    if service.keys:
        operation["security"] = [{"key": []}, {"header": []}]
    return operation
