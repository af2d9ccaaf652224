"""Keys under which the application, and a request, hold what is not of this package, or of no one room in it.

The key of any other object stands beside its class.
"""

from __future__ import annotations

from aiohttp import web

from client.models.catalogue import Catalogue
from client.streams.stream import Stream
from client.streams.streams import Streams
from client.upstream.openrouter import OpenRouterClient
from mcp_app.results.spending import Spending
from server.access.callers import Caller
from server.config import LiveConfig

SETTINGS = web.AppKey("SETTINGS", LiveConfig)
OPENROUTER = web.AppKey("OPENROUTER", OpenRouterClient)
CATALOGUE = web.AppKey("CATALOGUE", Catalogue)
STARTED_S = web.AppKey("STARTED_S", float)
STREAMS = web.AppKey("STREAMS", Streams)
SPENDING = web.AppKey("SPENDING", Spending)


CALLER = web.RequestKey("CALLER", Caller)
STARTED_STREAM = web.RequestKey("STARTED_STREAM", Stream)
BODY_BYTES = web.RequestKey("BODY_BYTES", int)
"""Size of the body that was read, unpacked."""
EXPECTATION = web.RequestKey("EXPECTATION", str)
"""What an `Expect` header asks for, until it is met."""
WRONG_VERSION = web.RequestKey("WRONG_VERSION", bool)
"""Set for a request in a version of HTTP that is not spoken here."""
REQUEST_ID = web.RequestKey("REQUEST_ID", str)
"""By which a refusal of another protocol is found in the log."""
