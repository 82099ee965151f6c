"""What hosts of models ask of a container, besides the service's own routes.

SageMaker asks `GET /ping` and `POST /invocations` on port 8080; Azure ML `GET /` and `POST /score`;
Vertex AI names its routes and its port in `AIP_*` variables, and wraps rows and answers.
"""

from collections.abc import Collection, Iterable
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException

from ..errors import UserError
from .settings import Settings

PROBES = ("/ping", "/health", "/ready")
PREDICT = ("/predict", "/invocations", "/score")
TAKEN = {"/", "/version", "/example", "/openapi.json", "/metrics", "/feedback"}
"""Routes of the service itself that are no host's."""

ENVELOPES = ("instances", "dataframe_records", "dataframe_split", "inputs")
"""In what clients of Vertex AI and of MLflow send rows."""


class Split(msgspec.Struct):
    """Rows as pandas writes them with `orient="split"`."""

    columns: list[str]
    data: list[list[msgspec.Raw]]


FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
SPLIT = msgspec.json.Decoder(Split)
BY_COLUMN = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])


def routes(settings: Settings) -> tuple[set[str], set[str]]:
    """The routes of all hosts: those that tell whether a model is ready, and those that predict.

    A UserError if one is no route, or a route that the service has for something else.
    """
    health, predict = settings.aip_health_route, settings.aip_predict_route
    for name, route, others in (
        ("AIP_HEALTH_ROUTE", health, PREDICT),
        ("AIP_PREDICT_ROUTE", predict, PROBES),
    ):
        if route[0] != "/" or route in (*TAKEN, *others):
            raise UserError(f"{name} is {route}; give it a route of its own, as /v1/predict.")
    return {"/ping", health} - {"/health", "/ready"}, {*PREDICT, predict}


def opened(body: bytes, columns: Collection[str]) -> tuple[bytes, bool]:
    """Take rows, an array, out of their envelope, if there is one.

    Args:
        body: of a request.
        columns: of the contract; what has a field of such a name is a row, and no envelope.

    Returns:
        The rows, and whether they were in an envelope.

    Raises:
        HTTPException: if there are no rows in it.
    """
    if body[:1] == b"[" or not any(name.encode() in body for name in ENVELOPES):
        return body, False
    try:
        fields = FIELDS.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return body, False  # whoever reads the rows says what is wrong
    name = next((name for name in ENVELOPES if name in fields), None)
    if name is None or not fields.keys().isdisjoint(columns):
        return body, False
    content = bytes(fields[name]).strip()
    try:
        if name == "dataframe_split":
            split = SPLIT.decode(content)
            return _written(split.columns, split.data), True
        if name == "inputs" and content[:1] == b"{":
            by_column = BY_COLUMN.decode(content)
            return _written(by_column, zip(*by_column.values(), strict=True)), True
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        sentence = f"The rows in {name} cannot be read: {error}."
        raise HTTPException(HTTPStatus.BAD_REQUEST, sentence) from None
    if content[:1] != b"[":
        raise HTTPException(HTTPStatus.BAD_REQUEST, f'Send {{"{name}": [row, …]}}.')
    return content, True


def _written(columns: Iterable[str], rows: Iterable[Iterable[msgspec.Raw]]) -> bytes:
    """Rows as JSON; ValueError if a name repeats, or a row has not a value for each of them."""
    names = [msgspec.json.encode(name) + b":" for name in columns]
    if len(set(names)) < len(names):
        raise ValueError("two columns have one name")
    pairs = ([n + bytes(value) for n, value in zip(names, row, strict=True)] for row in rows)
    return b"[" + b",".join(b"{" + b",".join(row) + b"}" for row in pairs) + b"]"
