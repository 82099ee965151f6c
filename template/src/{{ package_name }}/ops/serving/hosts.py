"""What hosts of models ask of a container, besides the service's own routes.

SageMaker asks `GET /ping` and `POST /invocations` on port 8080; Azure ML `GET /` and `POST /score`;
Vertex AI names its routes and its port in `AIP_*` variables, and wraps rows and answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import msgspec
from starlette.exceptions import HTTPException

from ..errors import UserError

PROBES = ("/ping", "/health", "/ready")
TAKEN = {"/", "/version", "/example", "/openapi.json", "/metrics", "/feedback"}
"""Routes of the service itself that are no host's."""


class Instances(msgspec.Struct):
    """The envelope in which Vertex AI sends rows."""

    instances: msgspec.Raw


INSTANCES = msgspec.json.Decoder(Instances)


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


def rows(body: bytes) -> bytes:
    """Take the rows, an array, out of their envelope.

    Raises:
        HTTPException: if there is no array under `instances`.
    """
    try:
        found = bytes(INSTANCES.decode(body).instances).strip()
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, f'Send {{"instances": [row, …]}}: {error}.'
        ) from None
    if not found.startswith(b"["):
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, 'Send {"instances": [row, …]}: an array of rows.'
        )
    return found
