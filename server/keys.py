"""Every key under which the application holds an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from client.models.catalogue import Catalogue
from client.streams.streams import Stream, Streams
from client.upstream.openrouter import OpenRouterClient
from mcp_app.results.spending import Spending
from server.access.attempts import FailedAttempts
from server.access.callers import Caller
from server.budgets.admission import Admission
from server.config import LiveConfig
from server.process.readiness import Readiness
from server.routes.results import Results
from server.telemetry.loop_lag import LoopLag
from server.telemetry.request_figures import RequestFigures
from server.telemetry.upstream_alarm import UpstreamAlarm

if TYPE_CHECKING:
    from server.mcp_http.endpoint import McpEndpoint
    from server.routes.api_docs import ApiDocuments
    from server.telemetry.metrics import LazyExposition

ALARM = web.AppKey("ALARM", UpstreamAlarm)
SETTINGS = web.AppKey("SETTINGS", LiveConfig)
OPENROUTER = web.AppKey("OPENROUTER", OpenRouterClient)
CATALOGUE = web.AppKey("CATALOGUE", Catalogue)
STARTED_S = web.AppKey("STARTED_S", float)
ATTEMPTS = web.AppKey("ATTEMPTS", FailedAttempts)
READINESS = web.AppKey("READINESS", Readiness)
STREAMS = web.AppKey("STREAMS", Streams)
RESULTS = web.AppKey("RESULTS", Results)
ADMISSION = web.AppKey("ADMISSION", Admission)
SPENDING = web.AppKey("SPENDING", Spending)
REQUEST_FIGURES = web.AppKey("REQUEST_FIGURES", RequestFigures)
LOOP_LAG = web.AppKey("LOOP_LAG", LoopLag)
EXPOSITION: web.AppKey[LazyExposition] = web.AppKey("EXPOSITION")
MCP: web.AppKey[McpEndpoint] = web.AppKey("MCP")

API_DOCUMENTS: web.AppKey[ApiDocuments] = web.AppKey("API_DOCUMENTS")

CALLER = web.RequestKey("CALLER", Caller)
STARTED_STREAM = web.RequestKey("STARTED_STREAM", Stream)
BODY_BYTES = web.RequestKey("BODY_BYTES", int)
"""Size of the body that was read, unpacked."""
EXPECTATION = web.RequestKey("EXPECTATION", str)
"""What an `Expect` header asks for, until it is met."""
WRONG_VERSION = web.RequestKey("WRONG_VERSION", bool)
"""Set for a request in a version of HTTP that is not spoken here."""
