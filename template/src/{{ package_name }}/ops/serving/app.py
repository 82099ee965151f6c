"""The application: FastAPI's routes, and in front of them the few that must be fast.

`/predict` and its like are plain ASGI; they are declared in the OpenAPI page all the same.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.types import Message, Receive, Scope, Send

from . import guard, hosts, openapi
from .guard import Gone, Turned
from .hosts import Host
from .models import Model
from .protocol import Protocol
from .rows import Malformed, Refusal, TooMany
from .service import Service, logger
from .settings import Settings

PAGE = Path(__file__).with_name("page.html")
UNREADY = "No model is loaded yet; try again soon."
CLOSED_CONNECTION = 499


class Reply(NamedTuple):
    """What one of the fast routes answers."""

    status: HTTPStatus
    body: Any
    then: Callable[[], None] | None = None
    """What is done when the caller has it."""


class Application:
    """The service as an ASGI application."""

    def __init__(self, settings: Settings, host: Host) -> None:
        """Wire the routes; the lifespan starts the service."""
        self.settings = settings
        self.service = Service(settings)
        self.routes = build(self.service, host)
        self.endpoints = {
            "/predict": self.predict,
            "/feedback": self.feedback,
            "/invocations": self.predict,
            "/score": self.predict,
        }
        if host.predict_route:
            self.endpoints[host.predict_route] = self.instances
        self.known = {*self.endpoints, *(route.path for route in self.routes.routes)}  # type: ignore[attr-defined]
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count the answer."""
        if scope["type"] != "http":
            await self.routes(scope, receive, send)
            return
        start = perf_counter()
        path = scope["path"]
        answer = self.post if path in self.endpoints else self.get
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
        self.in_flight += 1
        self.service.metrics.in_flight.inc()
        try:
            status = await answer(scope, receive, send)
        finally:
            self.in_flight -= 1
            self.service.metrics.in_flight.dec()
            route = path if path in self.known else "other"
            self.service.metrics.request(route, status, perf_counter() - start)

    async def get(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer by FastAPI's routes, with the headers that protect a browser."""
        status = 0

        async def protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"], *guard.SECURITY_HEADERS, *guard.PAGE_HEADERS
                ]  # fmt: skip
            await send(message)

        await self.routes(scope, receive, protected)
        return status

    async def post(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer one of the fast routes."""
        service = self.service
        headers: tuple[tuple[bytes, bytes], ...] = ()
        then: Callable[[], None] | None = None
        try:
            if scope["method"] != "POST":
                raise Turned(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.", (b"allow", b"POST"))
            if service.keys:
                service.keys.check(scope)
            guard.json_only(scope)
            if self.in_flight > self.settings.max_requests:
                service.metrics.overloaded.inc()
                raise Turned(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "Too many requests at once; try again.",
                    (b"retry-after", b"1"),
                )
            body = await guard.read(
                receive, self.settings.max_body_bytes, self.settings.head_seconds
            )
            if service.model is None:
                raise Turned(HTTPStatus.SERVICE_UNAVAILABLE, UNREADY, (b"retry-after", b"1"))
            status, answer, then = await self.endpoints[scope["path"]](service.model, body)
        except Turned as error:
            status, headers = error.status, error.headers
            answer = {"detail": str(error)}
        except Malformed as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"detail": str(error)}
        except TooMany as error:
            status, answer = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"detail": str(error)}
        except Refusal as error:
            service.metrics.refused(error)
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            answer = {"detail": str(error), "violations": error.violations}
        except Gone:
            return CLOSED_CONNECTION
        except Exception:  # noqa: BLE001  the caller gets an answer, and the others go on
            logger.exception("%s failed.", scope["path"])
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = {"detail": "The service has failed; its log says why."}
        await guard.respond(send, status, service.encoder.encode(answer), headers)
        if then:
            then()
        return int(status)

    async def predict(self, model: Model, body: bytes) -> Reply:
        """One row or many: one answer or many."""
        many, answers = await self.service.predict(model, body)
        then = partial(self.service.sent, model, body, answers)
        return Reply(HTTPStatus.OK, answers if many else answers[0], then)

    async def instances(self, model: Model, body: bytes) -> Reply:
        """Rows and answers in the envelopes of Vertex AI."""
        rows = hosts.rows(body)
        _, answers = await self.service.predict(model, rows)
        then = partial(self.service.sent, model, rows, answers)
        return Reply(HTTPStatus.OK, {"predictions": answers}, then)

    async def feedback(self, model: Model, body: bytes) -> Reply:
        """The truth for one prediction or many."""
        return Reply(HTTPStatus.ACCEPTED, {"accepted": self.service.learn(model, body)})


def build(service: Service, host: Host) -> FastAPI:
    """The routes that need not be fast, and the description of all of them."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    routes = FastAPI(title=openapi.TITLE, lifespan=lifespan, docs_url=None, redoc_url=None)
    page = PAGE.read_text(encoding="utf-8")
    policy = {"content-security-policy": openapi.page_policy(page)}

    @routes.get("/", include_in_schema=False)
    async def root() -> HTMLResponse:
        return HTMLResponse(page, headers=policy)

    @routes.get("/health", summary="Whether the process is alive", tags=["operations"])
    async def health() -> openapi.Health:
        return openapi.Health(status="alive")

    async def ready(response: Response) -> openapi.Ready:
        model = service.model
        if model is None:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        version = None if model is None else model.version
        return openapi.Ready(ready=model is not None, model_version=version)

    describe = {"summary": "Whether a model is loaded and warmed", "tags": ["operations"]}
    answers: dict[int | str, dict[str, Any]] = {503: {"model": openapi.Ready}}
    routes.get("/ready", responses=answers, **describe)(ready)  # type: ignore[arg-type]
    for path in host.health_routes:
        routes.get(path, include_in_schema=False)(ready)

    @routes.get("/version", summary="Which model answers", tags=["operations"],
                responses={503: {"model": openapi.Detail}})  # fmt: skip
    async def version(response: Response) -> openapi.Version | openapi.Detail:
        if service.model is None:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            return openapi.Detail(detail=UNREADY)
        shadow = service.shadow and service.shadow.model
        tried = shadow.version if shadow else None
        return openapi.Version(**service.model.describe(), shadow_version=tried)

    @routes.get("/example", summary="A row that can be scored, to try things with",
                tags=["model"], responses={503: {"model": openapi.Detail}})  # fmt: skip
    async def example(response: Response) -> dict[str, Any] | None:
        if service.model is None:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            return {"detail": UNREADY}
        return service.model.example

    @routes.get("/metrics", summary="Metrics, for Prometheus", tags=["operations"],
                response_class=openapi.PlainText)  # fmt: skip
    def metrics() -> openapi.PlainText:  # in a thread: there may be much to tell
        service.metrics.logged(service.logs)
        return openapi.PlainText(service.metrics.show())

    describe_routes = routes.openapi
    routes.openapi = lambda: openapi.describe(describe_routes(), service)  # type: ignore[method-assign]
    return routes


def create() -> Application:
    """What uvicorn starts in every worker; the settings come from the environment."""
    settings = Settings.read(os.environ)
    Protocol.head_seconds = settings.head_seconds
    return Application(settings, Host.read(os.environ))
