"""The description of the service: `openapi.json`, and in it what the contract of its model says."""

from pathlib import Path
from typing import Any

import msgspec

from .feedback import SHAPES, Feedback, shape
from .models import Answer, Model
from .requests import Violation
from .service import Service

DOCUMENT = Path(__file__).with_name("openapi.json")
REFERENCE = "#/components/schemas/{name}"


def describe(service: Service) -> dict[str, Any]:
    """The description of all routes that answer by now."""
    page: dict[str, Any] = msgspec.json.decode(DOCUMENT.read_bytes())
    paths, components = page["paths"], page["components"]
    if not service.keys:
        del components["securitySchemes"]
        for path in ("/predict", "/feedback"):
            del paths[path]["post"]["security"], paths[path]["post"]["responses"]["401"]
    schemas = components["schemas"]
    for name in ("Rows", "Answers", "Truths"):
        schemas[name]["anyOf"][1]["maxItems"] = service.settings.max_rows
    types = (Answer, Feedback, Violation)
    schemas |= msgspec.json.schema_components(types, ref_template=REFERENCE)[1]
    if service.model is None:
        del paths["/predict"], paths["/feedback"]
        del schemas["Rows"]
    else:
        page["info"]["version"] = service.model.version
        _describe(service.model, schemas)
    return page


def _describe(model: Model, schemas: dict[str, Any]) -> None:
    """Say what a row is to a model, what its answer, and what the ground truth."""
    schemas["Row"] = model.reader.schema()
    if model.example is not None:
        schemas["Row"]["examples"] = [model.example]
    contract = model.bundle.contract
    target = contract.target
    truth: dict[str, Any] = {"title": target.name, "type": SHAPES[shape(target)][0]}
    schemas["Feedback"]["properties"]["truth"] = truth
    value = {"title": target.name, "enum": target.choices} if target.choices else truth
    schemas["Answer"]["properties"]["prediction"] = value
    if contract.classes:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        schemas["Answer"]["properties"]["probabilities"] = {
            "type": "object",
            "properties": dict.fromkeys(contract.classes, share),
            "required": contract.classes,
        }
