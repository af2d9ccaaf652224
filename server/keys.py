"""Every key under which the application holds an object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient
from client.streams import Stream, Streams
from mcp_app.spending import Spending
from server.admission import Admission
from server.attempts import FailedAttempts
from server.callers import Caller
from server.config import LiveConfig
from server.loop_lag import LoopLag
from server.readiness import Readiness
from server.request_figures import RequestFigures
from server.results import Results
from server.upstream_alarm import UpstreamAlarm

if TYPE_CHECKING:
    from server.api_docs import ApiDocuments
    from server.mcp import McpEndpoint
    from server.metrics import LazyExposition

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
