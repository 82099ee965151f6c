"""What hosts of models ask of a container, besides the service's own routes.

SageMaker asks `GET /ping` and `POST /invocations` on port 8080; Azure ML `GET /` and `POST /score`;
Vertex AI names its routes and its port in `AIP_*` variables, and wraps rows and answers.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import msgspec
from starlette.exceptions import HTTPException

from ..errors import UserError

PROBES = ("/ping", "/health", "/ready")
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


@dataclass(frozen=True)
class Host:
    """Routes that the host asks for."""

    health_routes: tuple[str, ...] = ("/ping",)
    predict_route: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables that Vertex AI sets.

        Raises:
            UserError: if one is no route, or a route that the service has for something else.
        """
        health, predict = environment.get("AIP_HEALTH_ROUTE"), environment.get("AIP_PREDICT_ROUTE")
        for name, route, also in (
            ("AIP_HEALTH_ROUTE", health, {"/predict", "/score", "/invocations"}),
            ("AIP_PREDICT_ROUTE", predict, {*PROBES}),
        ):
            if route and (route[0] != "/" or route in TAKEN | also):
                raise UserError(f"{name} is {route}; give it a route of its own, as /v1/predict.")
        more = (health,) if health and health not in PROBES else ()
        return cls(("/ping", *more), predict or None)


def opened(body: bytes, columns: Collection[str] = ()) -> bytes | None:
    """Take rows, an array, out of their envelope; None if there is no envelope.

    Args:
        body: of a request.
        columns: of the contract; a field of their name is no envelope.

    Raises:
        HTTPException: if there are no rows in it.
    """
    try:
        fields = FIELDS.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None  # whoever reads the rows says what is wrong
    name = next((name for name in ENVELOPES if name in fields and name not in columns), None)
    if name is None:
        return None
    content = bytes(fields[name]).strip()
    try:
        if name == "dataframe_split":
            split = SPLIT.decode(content)
            return _written(split.columns, split.data)
        if name == "inputs" and content[:1] == b"{":
            by_column = BY_COLUMN.decode(content)
            return _written(by_column, zip(*by_column.values(), strict=True))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        sentence = f"The rows in {name} cannot be read: {error}."
        raise HTTPException(HTTPStatus.BAD_REQUEST, sentence) from None
    if content[:1] != b"[":
        raise HTTPException(HTTPStatus.BAD_REQUEST, f'Send {{"{name}": [row, …]}}.')
    return content


def _written(columns: Iterable[str], rows: Iterable[Iterable[msgspec.Raw]]) -> bytes:
    """Rows as JSON; ValueError if one has more or fewer values than there are columns."""
    names = [msgspec.json.encode(name) + b":" for name in columns]
    pairs = ([n + bytes(value) for n, value in zip(names, row, strict=True)] for row in rows)
    return b"[" + b",".join(b"{" + b",".join(row) + b"}" for row in pairs) + b"]"
