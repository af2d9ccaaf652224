"""Traces: whether they are wanted, and what to do without OpenTelemetry. Nothing of it is loaded unless they are.

They are wanted when one of OpenTelemetry's own variables names an endpoint; every other setting (service name,
headers, sampler, batches) is OpenTelemetry's too and read by it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from client.config import UpstreamConfig
from client.streams.streams import StartSpan

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_INSTALL = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"


def wanted_endpoint(environ: Mapping[str, str]) -> str | None:
    """The variable that names an endpoint for traces; None when there shall be none."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    return next((name for name in _ENDPOINTS if environ.get(name, "").strip()), None)


@asynccontextmanager
async def open_traces(environ: Mapping[str, str], upstream: UpstreamConfig) -> AsyncIterator[StartSpan | None]:
    """What begins the spans of answers; None when there are no traces.

    On leaving, what is left is sent, but not for long. A mistake in OpenTelemetry's settings costs the traces, never
    the service.
    """
    variable = wanted_endpoint(environ)
    if variable is None:
        yield None
        return
    try:
        from server.telemetry.otel import Tracer

        tracer = Tracer(upstream)
    except ImportError:
        logger.warning(
            "%s is set, but OpenTelemetry is not installed, so there are no traces: %s", variable, _INSTALL
        )
        yield None
        return
    except Exception as exc:
        logger.warning("%s is set, but OpenTelemetry refused its settings, so there are no traces: %s", variable, exc)
        yield None
        return
    try:
        yield tracer.start
    finally:
        await tracer.aclose()
