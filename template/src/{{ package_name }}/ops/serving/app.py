"""The application: Starlette's routes, and in front of them the few that must be fast.

`/predict` and its like are plain ASGI: routing and request objects would cost as much as the model.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from . import access, hosts, openapi
from .hosts import Host
from .models import Model
from .requests import Malformed, Refusal, Rows, TooMany
from .service import Service, logger
from .settings import Settings

PAGE = Path(__file__).with_name("page.html")
UNREADY = "No model is loaded yet; try again soon."
SOON = {"retry-after": "1"}
CLOSED_CONNECTION = 499

MOST_NAMES, LONGEST_NAME = 20, 80
"""How many unknown fields an answer names, and how much of each."""


class Reply(NamedTuple):
    """What one of the fast routes answers."""

    status: int
    body: Any
    headers: Mapping[str, str] = {}
    then: Callable[[], None] | None = None
    """What is done when the caller has it."""


class Application:
    """The service as an ASGI application."""

    def __init__(self, settings: Settings, host: Host) -> None:
        """Wire the routes; the lifespan starts the service."""
        self.settings = settings
        self.service = Service(settings)
        self.pages = pages(self.service, host)
        self.fast = {
            "/predict": self.predict,
            "/feedback": self.feedback,
            "/invocations": self.predict,
            "/score": self.predict,
        }
        if host.predict_route:
            self.fast[host.predict_route] = self.instances
        routes = [route.path for route in self.pages.routes if isinstance(route, Route)]
        self.known = {*self.fast, *routes}
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers that protect a browser, and count the answer."""
        if scope["type"] != "http":
            await self.pages(scope, receive, send)
            return
        status = CLOSED_CONNECTION

        async def protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *access.SECURITY_HEADERS]
            await send(message)

        start = perf_counter()
        path = scope["path"]
        answer = self.post if path in self.fast else self.pages
        self.in_flight += 1
        self.service.metrics.in_flight.inc()
        try:
            await answer(scope, receive, protected)
        finally:
            self.in_flight -= 1
            self.service.metrics.in_flight.dec()
            route = path if path in self.known else "other"
            self.service.metrics.request(route, status, perf_counter() - start)

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of the fast routes."""
        try:
            reply = await self.reply(scope, receive)
        except ClientDisconnect:
            return
        body = self.service.encoder.encode(reply.body)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **reply.headers,
        }
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": int(reply.status), "headers": raw})
        await send({"type": "http.response.body", "body": body})
        if reply.then:
            reply.then()

    async def reply(self, scope: Scope, receive: Receive) -> Reply:
        """What is answered to a request, be it good or bad.

        Raises:
            ClientDisconnect: if the caller is gone.
        """
        try:
            model, body = await self.admitted(scope, receive)
            return await self.fast[scope["path"]](model, body)
        except HTTPException as error:
            return Reply(error.status_code, {"detail": error.detail}, error.headers or {})
        except Malformed as error:
            return Reply(HTTPStatus.BAD_REQUEST, {"detail": str(error)})
        except TooMany as error:
            return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"detail": str(error)})
        except Refusal as error:
            self.service.metrics.refused(error)
            answer = {"detail": str(error), "violations": error.violations}
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, answer)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001  the caller gets an answer, and the others go on
            logger.exception("%s failed.", scope["path"])
            answer = {"detail": "The service has failed; its log says why."}
            return Reply(HTTPStatus.INTERNAL_SERVER_ERROR, answer)

    async def admitted(self, scope: Scope, receive: Receive) -> tuple[Model, bytes]:
        """The model that is to answer a request, and its body.

        Raises:
            HTTPException: if it is not one that may be answered now.
            ClientDisconnect: if the caller is gone.
        """
        service, headers = self.service, Headers(scope=scope)
        if scope["method"] != "POST":
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.", {"allow": "POST"})
        if service.keys:
            service.keys.check(headers)
        access.json_only(headers)
        if self.in_flight > self.settings.max_requests:
            service.metrics.overloaded.inc()
            crowded = "Too many requests at once; try again."
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, crowded, SOON)
        body = await access.read(receive, self.settings.max_body_bytes, self.settings.head_seconds)
        return loaded(service), body

    async def predict(self, model: Model, body: bytes) -> Reply:
        """One row or many: one answer or many."""
        rows, answers = await self.service.predict(model, body)
        then = partial(self.service.sent, model, body, answers)
        return Reply(HTTPStatus.OK, answers if rows.many else answers[0], unknown(rows), then)

    async def instances(self, model: Model, body: bytes) -> Reply:
        """Rows and answers in the envelopes of Vertex AI."""
        body = hosts.rows(body)
        rows, answers = await self.service.predict(model, body)
        then = partial(self.service.sent, model, body, answers)
        return Reply(HTTPStatus.OK, {"predictions": answers}, unknown(rows), then)

    async def feedback(self, model: Model, body: bytes) -> Reply:
        """The truth for one prediction or many."""
        return Reply(HTTPStatus.ACCEPTED, {"accepted": self.service.learn(model, body)})


def unknown(rows: Rows) -> dict[str, str]:
    """A header that names the fields that the contract does not know, if there are some."""
    if not rows.unknown:
        return {}
    names = [quote(name[:LONGEST_NAME], safe=" ") for name in sorted(rows.unknown)[:MOST_NAMES]]
    return {"unknown-fields": ", ".join(names)}


def loaded(service: Service) -> Model:
    """The model that answers.

    Raises:
        HTTPException: if there is none yet.
    """
    if service.model is None:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, UNREADY, SOON)
    return service.model


def pages(service: Service, host: Host) -> Starlette:
    """The routes that need not be fast."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    page = PAGE.read_text(encoding="utf-8")
    policy = {"content-security-policy": openapi.page_policy(page)}

    async def root(_: Request) -> Response:
        return HTMLResponse(page, headers=policy)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> Response:
        model = service.model
        answer = {"ready": model is not None, "model_version": model and model.version}
        return JSONResponse(answer, HTTPStatus.OK if model else HTTPStatus.SERVICE_UNAVAILABLE)

    async def version(_: Request) -> Response:
        tried = service.shadow and service.shadow.model
        answer = loaded(service).describe() | {"shadow_version": tried and tried.version}
        return JSONResponse(answer)

    async def example(_: Request) -> Response:
        return JSONResponse(loaded(service).example)

    async def description(_: Request) -> Response:
        return JSONResponse(openapi.describe(service))

    def metrics(_: Request) -> Response:  # in a thread: there may be much to tell
        return Response(service.metrics.show(), media_type=openapi.METRICS_TYPE)

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    routes = {
        "/": root,
        "/health": health,
        "/ready": ready,
        **dict.fromkeys(host.health_routes, ready),
        "/version": version,
        "/example": example,
        "/openapi.json": description,
        "/metrics": metrics,
    }
    return Starlette(
        routes=[Route(path, endpoint) for path, endpoint in routes.items()],
        lifespan=lifespan,
        exception_handlers={HTTPException: refuse},
    )
