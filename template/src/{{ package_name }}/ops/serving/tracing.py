"""Traces, where OpenTelemetry's packages are installed and its own variables set them up."""

import os
from importlib import import_module

from starlette.types import ASGIApp, Scope

from .app import Application


def traced(application: Application) -> ASGIApp:
    """Make every request but a probe a span, in the trace that its caller names."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return application
    try:
        asgi = import_module("opentelemetry.instrumentation.asgi")
    except ImportError:
        return application
    import_module("opentelemetry.instrumentation.auto_instrumentation").initialize()

    def described(scope: Scope) -> tuple[str, dict[str, str]]:
        route = scope["path"] if scope["path"] in application.known else "other"
        return f"{scope['method']} {route}", {"http.route": route}

    spans: ASGIApp = asgi.OpenTelemetryMiddleware(
        application,
        excluded_urls=",".join(f"{route}$" for route in application.probes),
        default_span_details=described,
        exclude_spans=["receive", "send"],
    )
    return spans
