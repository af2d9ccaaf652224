"""Every key under which the application holds an object."""

from __future__ import annotations

from aiohttp import web

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient
from client.streams import Stream, Streams
from server.config import Config
from server.readiness import Readiness

CONFIG = web.AppKey("CONFIG", Config)
OPENROUTER = web.AppKey("OPENROUTER", OpenRouterClient)
CATALOGUE = web.AppKey("CATALOGUE", Catalogue)
STARTED_S = web.AppKey("STARTED_S", float)
READINESS = web.AppKey("READINESS", Readiness)
STREAMS = web.AppKey("STREAMS", Streams)

CALLER = web.RequestKey("CALLER", str)
STARTED_STREAM = web.RequestKey("STARTED_STREAM", Stream)
