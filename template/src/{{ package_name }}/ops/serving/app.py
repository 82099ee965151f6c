"""The application: Starlette's routes, and in front of them the few that must be fast.

`/predict` and its like are plain ASGI: routing and request objects would cost as much as the model.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import access, hosts, messages, openapi
from .hosts import Host
from .models import Model
from .requests import Refusal, Rows
from .service import Service, logger
from .settings import Settings

PAGE = Path(__file__).with_name("page.html")
UNREADY = "No model is loaded yet; try again soon."
CLOSED_CONNECTION = 499
ENCODER = msgspec.json.Encoder()

MOST_NAMES, LONGEST_NAME = 20, 80
"""How many unknown fields an answer names, and how much of each."""


class Json(Response):
    """An answer in JSON, of whatever msgspec can write."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Write it."""
        return ENCODER.encode(content)


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
            "/invocations": self.invocations,
            "/score": self.predict,
        }
        if host.predict_route:
            self.fast[host.predict_route] = self.instances
        routes = [route.path for route in self.pages.routes if isinstance(route, Route)]
        self.known = {*self.fast, *routes}
        self.probes = {*hosts.PROBES, *host.health_routes}
        self.places = settings.max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers that protect a browser, and count the answer."""
        if scope["type"] != "http":
            await self.pages(scope, receive, send)
            return
        status, start = CLOSED_CONNECTION, perf_counter()
        request = access.request_id(dict(scope["headers"]))
        messages.REQUEST.set(request)

        async def received() -> Message:
            nonlocal start
            message = await receive()
            start = perf_counter()  # how long a caller sends is not for the service to answer for
            return message

        async def protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (b"x-request-id", request.encode())
                message["headers"] = [*message["headers"], *access.SECURITY_HEADERS, named]
                if self.service.ending:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        path = scope["path"]
        answer: ASGIApp = self.post if path in self.fast else self.page
        if scope["method"] == "OPTIONS" and path in self.known:
            methods = "POST, OPTIONS" if path in self.fast else "GET, HEAD, OPTIONS"
            answer = Response(status_code=HTTPStatus.NO_CONTENT, headers={"allow": methods})
        self.service.metrics.gauges["service_in_flight"].inc()
        try:
            await answer(scope, received, protected)
        finally:
            self.service.metrics.gauges["service_in_flight"].dec()
            route = path if path in self.known else "other"
            seconds = perf_counter() - start
            self.service.metrics.request(route, status, seconds)
            if self.settings.access_log:
                fields = {
                    "caller": scope.get("caller") or (scope.get("client") or ("",))[0],
                    "method": scope["method"],
                    "path": path,
                    "status": int(status),
                    "seconds": round(seconds, 6),
                }
                logger.info("%s %s %s %s %s", *fields.values(), extra={"fields": fields})

    async def page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a route that is read, to those who may read it."""
        try:
            keys = self.settings.pages_need_key and self.service.keys
            if keys and scope["path"] not in self.probes:
                keys.check(Headers(scope=scope))
        except HTTPException as error:
            refusal = Json({"detail": error.detail}, error.status_code, error.headers)
            await refusal(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one of the fast routes, be the request good or bad."""
        try:
            answer = await self.answer(scope, receive)
        except ClientDisconnect:
            return
        except HTTPException as error:
            if isinstance(error, access.Overloaded):
                self.service.metrics.counters["service_overloaded"].inc()
            answer = Json({"detail": error.detail}, error.status_code, error.headers)
        except Refusal as error:
            self.service.metrics.refused(error)
            refusal = openapi.Refusal(str(error), error.violations)
            answer = Json(refusal, HTTPStatus.UNPROCESSABLE_ENTITY)
        except Exception:  # noqa: BLE001  the caller gets an answer, and the others go on
            logger.exception("%s failed.", scope["path"])
            failed = {
                "detail": "The service has failed; its log says why.",
                "request_id": messages.REQUEST.get(),
            }
            answer = Json(failed, HTTPStatus.INTERNAL_SERVER_ERROR)
        await answer(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """What is answered to a request that may be answered now; it takes a place meanwhile.

        Raises:
            HTTPException, Refusal: if it is answered otherwise.
            ClientDisconnect: if the caller is gone.
        """
        service, headers = self.service, Headers(scope=scope)
        if scope["method"] != "POST":
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.", {"allow": "POST"})
        if service.keys:
            feedback = scope["path"] == "/feedback"
            scope["caller"] = service.keys.check(headers, "feedback" if feedback else "predict")
        access.check_kind(headers)
        if self.places == 0:
            raise access.Overloaded
        self.places -= 1
        try:
            body = await access.read(receive, self.settings.max_body_bytes)
            if headers.get("content-encoding", "").lower() == "gzip":
                most = self.settings.max_body_bytes
                body = await asyncio.to_thread(access.unzipped, body, most)
            return await self.fast[scope["path"]](loaded(service), body)
        finally:
            self.places += 1

    async def predict(self, model: Model, body: bytes) -> Response:
        """One row or many: one answer or many."""
        rows, answers = await self.service.predict(model, body)
        then = BackgroundTask(self.service.sent, model, body, answers)
        return Json(answers if rows.many else answers[0], headers=unknown(rows), background=then)

    async def invocations(self, model: Model, body: bytes) -> Response:
        """The same, or rows and answers in envelopes of MLflow."""
        rows = hosts.opened(body, [column.name for column in model.bundle.contract.inputs])
        return await (self.predict(model, body) if rows is None else self.enveloped(model, rows))

    async def instances(self, model: Model, body: bytes) -> Response:
        """Rows and answers in the envelopes of Vertex AI."""
        if (rows := hosts.opened(body)) is None:
            raise HTTPException(HTTPStatus.BAD_REQUEST, 'Send {"instances": [row, …]}.')
        return await self.enveloped(model, rows)

    async def enveloped(self, model: Model, body: bytes) -> Response:
        """An envelope of answers."""
        rows, answers = await self.service.predict(model, body)
        then = BackgroundTask(self.service.sent, model, body, answers)
        return Json({"predictions": answers}, headers=unknown(rows), background=then)

    async def feedback(self, model: Model, body: bytes) -> Response:
        """The truth for one prediction or many."""
        return Json(openapi.Accepted(self.service.learn(model, body)), HTTPStatus.ACCEPTED)


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
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, UNREADY, access.SOON)
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
        return Json(openapi.Health("alive"))

    async def ready(_: Request) -> Response:
        model, ready = service.model, service.model is not None and not service.ending
        answer = openapi.Ready(ready, model.version if model else None)
        return Json(answer, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def version(_: Request) -> Response:
        shadow = service.shadow.model if service.shadow else None
        return Json(openapi.version(loaded(service), shadow))

    async def example(_: Request) -> Response:
        return Json(loaded(service).example)

    @lru_cache(maxsize=1)
    def described(_: Model | None) -> bytes:  # of one model: making it takes milliseconds
        return ENCODER.encode(openapi.describe(service))

    async def description(_: Request) -> Response:
        return Response(described(service.model), media_type=Json.media_type)

    def metrics(_: Request) -> Response:  # in a thread: there may be much to tell
        service.metrics.logged(service.logs.values())
        return Response(service.metrics.show(), media_type=openapi.METRICS_TYPE)

    async def refuse(_: Request, error: Any) -> Response:  # an HTTPException, as asked for below
        return Json({"detail": error.detail}, error.status_code, error.headers)

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
    application = Starlette(
        routes=[Route(path, endpoint) for path, endpoint in routes.items()],
        lifespan=lifespan,
        exception_handlers={HTTPException: refuse},
    )
    application.router.redirect_slashes = False  # it would lead to whatever Host a caller names
    return application
