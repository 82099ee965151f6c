"""What the service answers, and the description of it, made from the contract of its model."""

import base64
import hashlib
import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .feedback import SHAPES, Feedback, shape
from .models import Answer, Model
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
    """How many labels were taken."""

    accepted: Annotated[int, Meta(ge=1)]


class Health(msgspec.Struct):
    """The process is alive."""

    status: Literal["alive"]


class Ready(msgspec.Struct):
    """Whether a model is loaded, and which."""

    ready: bool
    model_version: str | None


class Version(msgspec.Struct, omit_defaults=True):
    """Which model answers, and where it comes from."""

    model_version: str
    digest: str
    git_commit: str
    data_hash: str
    created: str
    contract: str
    shadow_version: str | None
    decision: dict[str, Any] | None = None
    """By which threshold and costs it chooses a class, if not the likeliest."""


REFERENCE = "#/components/schemas/{name}"

TYPES = (Accepted, Answer, Detail, Feedback, Health, Ready, Refusal, Version)

READ = {
    "/health": ("operations", "Whether the process is alive", "Health", None),
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


def version(model: Model, shadow: Model | None) -> Version:
    """What is told of the model that answers, and of the one in its shadow."""
    origin = model.bundle.origin
    return Version(
        model_version=model.version,
        digest=model.digest,
        git_commit=origin.commit,
        data_hash=origin.data,
        created=origin.created,
        contract=model.bundle.fingerprint,
        shadow_version=shadow.version if shadow else None,
        decision=model.bundle.manifest.get("decision"),
    )


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
    paths: dict[str, Any] = {}
    for path, (tag, summary, told, unready) in READ.items():
        responses = {"200": _json("The answer", _reference(told))}
        if unready:
            responses["503"] = _json("No model yet", _reference(unready))
        paths[path] = {"get": {"summary": summary, "tags": [tag], "responses": responses}}
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
        page["info"]["version"] = service.model.version
        target = service.model.bundle.contract.target
        truth: dict[str, Any] = {"type": SHAPES[shape(target)][0]}
        value = {"enum": list(target.choices)} if target.choices else truth
        schemas["Row"] = _row(service.model)
        schemas["Answer"]["properties"]["prediction"] = {"title": target.name, **value}
        if classes := service.model.bundle.contract.classes:
            share = {"type": "number", "minimum": 0, "maximum": 1}
            shares = {"properties": dict.fromkeys(classes, share), "required": list(classes)}
            schemas["Answer"]["properties"]["probabilities"] = {"type": "object", **shares}
        schemas["Feedback"]["properties"]["truth"] = {"title": target.name, **truth}
        score, learn = "Score one row, or many", "Tell what became of a prediction, or of many"
        answers, accepted = _one_or_many(service, "Answer"), _reference("Accepted")
        paths["/predict"] = {"post": _posted(service, "predict", score, "Row", "200", answers)}
        paths["/feedback"] = {
            "post": _posted(service, "feedback", learn, "Feedback", "202", accepted)
        }
    return page


def _row(model: Model) -> dict[str, Any]:
    """A row, with what the page's form is made of."""
    schema = model.reader.schema()
    for column in model.bundle.contract.inputs:
        schema["properties"][column.name] |= {
            "x-kind": column.kind,
            "x-choices": list(column.choices or ()),
            "x-number": column.dtype.startswith(("Int", "UInt", "Float")),
        }
    return schema if model.example is None else schema | {"examples": [model.example]}


def _reference(schema: str) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=schema)}


def _one_or_many(service: Service, schema: str) -> dict[str, Any]:
    one, most = _reference(schema), service.settings.max_rows
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": most}]}


def _json(meaning: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _posted(
    service: Service, name: str, summary: str, asked: str, status: str, answer: dict[str, Any]
) -> dict[str, Any]:
    """A route that takes one of something, or many."""
    responses = {
        code: _json(meaning, _reference("Detail"))
        for code, meaning in TURNED_AWAY.items()
        if service.keys or code != "401"
    }
    responses["422"] = _json("It breaks the contract", _reference("Refusal"))
    responses[status] = _json("The answer", answer)
    body = _json("One, or many", _one_or_many(service, asked))
    operation = {
        "operationId": name,
        "summary": summary,
        "tags": ["model"],
        "requestBody": {"required": True, **body},
        "responses": dict(sorted(responses.items())),
    }
    return operation | ({"security": [{"key": []}, {"header": []}]} if service.keys else {})
