"""The application, as plain ASGI: routing and request objects would cost as much as the model."""

import asyncio
import contextlib
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, Response
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from . import access, hosts, messages, openapi
from .access import HeaderFields
from .models import Model
from .requests import Refusal, Rows
from .service import Service, logger
from .settings import Settings

PAGE = Path(__file__).with_name("page.html")
UNREADY = "No model is loaded yet; try again soon."
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""

CLOSED_CONNECTION = 499
ENCODER = msgspec.json.Encoder()

MOST_NAMES, LONGEST_NAME = 20, 80
"""How many unknown fields an answer names, and how much of each."""


class Json(Response):
    """An answer in JSON, of whatever msgspec can write; made quicker than others are."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
    ) -> None:
        """Write it."""
        self.status_code, self.background = int(status), None
        self.body = ENCODER.encode(content)
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.body)),
            *((name.encode(), value.encode()) for name, value in (headers or {}).items()),
        ]


class Application:
    """The service as an ASGI application."""

    def __init__(self, settings: Settings) -> None:
        """Wire the routes, see `hosts.routes`; the lifespan starts the service."""
        self.settings = settings
        self.service = Service(settings)
        health, predict = hosts.routes(settings)
        self.pages = pages(self.service, health)
        self.posted = {**dict.fromkeys(predict, self.predict), "/feedback": self.feedback}
        self.known = {*self.posted, *self.pages}
        self.probes = {*hosts.PROBES, *health}
        self.lifespan = Router(lifespan=lambda _: self.service.running())
        self.places = settings.max_requests
        # There is always room for one body, zipped and unzipped.
        self.room = max(settings.max_waiting_bytes, 2 * settings.max_body_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers that protect a browser, and count the answer."""
        if scope["type"] != "http":
            await self.lifespan(scope, receive, send)
            return
        status, scope["start"] = CLOSED_CONNECTION, perf_counter()
        path, headers = scope["path"], dict(scope["headers"])
        added = access.SECURITY_HEADERS if path in self.posted else access.PAGE_HEADERS
        request = access.request_id(headers)
        messages.REQUEST.set(request)

        async def protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = (b"x-request-id", request.encode())
                message["headers"] = [*message["headers"], *added, named]
                if self.service.ending:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self.service.metrics.gauges["service_in_flight"].inc()
        try:
            with contextlib.suppress(ClientDisconnect):
                answer = await self.answer(scope, headers, receive)
                await answer(scope, receive, protected)
        finally:
            self.service.metrics.gauges["service_in_flight"].dec()
            route = path if path in self.known else "other"
            seconds = perf_counter() - scope["start"]
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

    async def answer(self, scope: Scope, headers: HeaderFields, receive: Receive) -> Response:
        """What is answered to a request, be it good or bad; ClientDisconnect if nobody hears it."""
        try:
            path, method = scope["path"], scope["method"]
            allowed = "POST" if path in self.posted else "GET, HEAD"
            if method == "OPTIONS" and path in self.known:
                return Response(None, HTTPStatus.NO_CONTENT, {"allow": f"{allowed}, OPTIONS"})
            private = self.settings.pages_need_key and self.service.keys
            if private and path not in (*self.probes, *self.posted):
                private.check(headers)
            if path not in self.known:
                raise HTTPException(HTTPStatus.NOT_FOUND)
            if method not in allowed.split(", "):
                sentence = f"Use {allowed}."
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, sentence, {"allow": allowed})
            if path in self.posted:
                return await self.post(scope, headers, receive)
            return await self.pages[path]()
        except HTTPException as error:
            if isinstance(error, access.Overloaded):
                self.service.metrics.counters["service_overloaded"].inc()
            return Json({"detail": error.detail}, error.status_code, error.headers)
        except Refusal as error:
            self.service.metrics.refused(error)
            refusal = {"detail": str(error), "violations": error.violations}
            return Json(refusal, HTTPStatus.UNPROCESSABLE_ENTITY)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001  the caller gets an answer, and the others go on
            logger.exception("%s failed.", scope["path"])
            failed = {
                "detail": "The service has failed; its log says why.",
                "request_id": messages.REQUEST.get(),
            }
            return Json(failed, HTTPStatus.INTERNAL_SERVER_ERROR)

    async def post(self, scope: Scope, headers: HeaderFields, receive: Receive) -> Response:
        """Do what is asked for by a body; that takes a place, and room, meanwhile.

        Raises:
            HTTPException, Refusal: if it is answered otherwise.
            ClientDisconnect: if the caller is gone.
        """
        if self.service.keys:
            feedback = scope["path"] == "/feedback"
            use = "feedback" if feedback else "predict"
            scope["caller"] = self.service.keys.check(headers, use)
            messages.CALLER.set(scope["caller"])
        access.check_kind(headers)
        most, held = self.settings.max_body_bytes, 0
        if b"expect" in headers and int(headers.get(b"content-length", 0)) > most:
            raise access.too_large(most)  # before it is sent

        def hold(size: int) -> None:
            """Note how long the body is by now; a short one costs a place and no more."""
            nonlocal held
            if size > access.LONG_BYTES:
                if size - held > self.room:
                    raise access.Overloaded
                self.room -= size - held
                held = size

        if self.places == 0:
            raise access.Overloaded
        self.places -= 1
        try:
            try:
                body = await access.read(receive, most, hold)
            finally:  # how long a caller sends is not for the service to answer for
                scope["start"] = perf_counter()
            if headers.get(b"content-encoding", b"").lower() in access.ZIPPED:
                body = await asyncio.to_thread(access.unzipped, body, most)
                hold(len(body))
            model = loaded(self.service)
            return await self.posted[scope["path"]](model, body.removeprefix(BOM_UTF8))
        finally:
            self.places += 1
            self.room += held

    async def predict(self, model: Model, body: bytes) -> Response:
        """One row or many: one answer or many, in an envelope if the rows came in one."""
        rows, answers, wrapped = await self.service.predict(model, body)
        told = answers if rows.many else answers[0]
        return Json({"predictions": told} if wrapped else told, headers=unknown(rows))

    async def feedback(self, model: Model, body: bytes) -> Response:
        """The truth for one prediction or many."""
        accepted = await self.service.learn(model, body)
        return Json({"accepted": accepted}, HTTPStatus.ACCEPTED)


def unknown(rows: Rows) -> dict[str, str]:
    """A header that names the fields that the contract does not know, if there are some."""
    if not rows.unknown:
        return {}
    names = [quote(name[:LONGEST_NAME], safe=" ") for name in sorted(rows.unknown)[:MOST_NAMES]]
    return {"unknown-fields": ", ".join(names)}


def loaded(service: Service) -> Model:
    """The model that answers; an HTTPException if there is none yet."""
    if service.model is None:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, UNREADY, access.SOON)
    return service.model


def pages(
    service: Service, health_routes: Iterable[str]
) -> dict[str, Callable[[], Awaitable[Response]]]:
    """What answers on each route that is read."""
    page = PAGE.read_text(encoding="utf-8")
    policy = {"content-security-policy": access.page_policy(page)}

    async def root() -> Response:
        return HTMLResponse(page, headers=policy)

    async def health() -> Response:
        return Json({"status": "alive"})

    async def ready() -> Response:
        model, ready = service.model, service.model is not None and not service.ending
        answer = {"ready": ready, "model_version": model and model.version}
        return Json(answer, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def version() -> Response:
        model, shadow = loaded(service), service.shadow and service.shadow.model
        decision = model.bundle.manifest.get("decision")
        answer = {
            "model_version": model.version,
            "digest": model.digest,
            "git_commit": model.bundle.origin.commit,
            "data_hash": model.bundle.origin.data,
            "created": model.bundle.origin.created,
            "contract": model.bundle.fingerprint,
            "shadow_version": shadow and shadow.version,
        }
        return Json(answer | ({"decision": decision} if decision else {}))

    async def example() -> Response:
        return Json(loaded(service).example)

    @lru_cache(maxsize=1)
    def described(_: Model | None) -> bytes:  # of one model: making it takes milliseconds
        return ENCODER.encode(openapi.describe(service))

    async def description() -> Response:
        return Response(described(service.model), media_type=Json.media_type)

    async def metrics() -> Response:
        service.metrics.logged(service.logs.values())
        shown = await asyncio.to_thread(service.metrics.show)  # there may be much to tell
        return Response(shown, media_type=METRICS_TYPE)

    return {
        "/": root,
        "/health": health,
        "/ready": ready,
        **dict.fromkeys(health_routes, ready),
        "/version": version,
        "/example": example,
        "/openapi.json": description,
        "/metrics": metrics,
    }
