"""Every key under which the application holds an object."""

from __future__ import annotations

from aiohttp import web

from client.catalogue import Catalogue
from client.openrouter import OpenRouterClient
from client.streams import Streams
from server.config import Config

CONFIG = web.AppKey("CONFIG", Config)
OPENROUTER = web.AppKey("OPENROUTER", OpenRouterClient)
CATALOGUE = web.AppKey("CATALOGUE", Catalogue)
STREAMS = web.AppKey("STREAMS", Streams)
