"""Puts the application together: what it holds, how that is opened and closed, and the routes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from client.models.catalogue import Catalogue
from client.models.costs import Known
from client.streams.streams import SHUTTING_DOWN, Streams
from client.upstream.openrouter import OpenRouterClient, create_session
from mcp_app.results.spending import Spending
from server.access.attempts import ATTEMPTS, FailedAttempts
from server.access.callers import Caller
from server.budgets.admission import ADMISSION, Admission, Budgets
from server.budgets.ledger import Ledger
from server.config import Config, LiveConfig
from server.http.access import access_middleware, add_cors_headers
from server.http.failures import error_middleware
from server.http.reply_headers import complete_headers
from server.keys import CATALOGUE, OPENROUTER, SETTINGS, SPENDING, STARTED_S, STREAMS
from server.mcp_http.endpoint import add_mcp, mcp_refusals_middleware
from server.page.routes import add_page
from server.protocols.asked import decode_asked, encode_asked
from server.protocols.mounts import add_protocols
from server.restarts.restarts import Restarts
from server.routes import api_docs, chat, health, models, usage
from server.routes.api_docs import API_DOCUMENTS
from server.routes.readiness import ENDING, READINESS, Readiness
from server.routes.results import RESULTS, Results
from server.telemetry.access_log import access_log_middleware, log_stream
from server.telemetry.metrics import add_metrics
from server.telemetry.shared_figures import SHARED
from server.telemetry.traces import open_traces
from server.telemetry.upstream_alarm import ALARM, UpstreamAlarm

if TYPE_CHECKING:  # loaded with an address of a store alone
    from server.shared.store import Store


def create_app(settings: Config | LiveConfig) -> web.Application:
    """The application for these settings; nothing is opened until it starts."""
    settings = settings if isinstance(settings, LiveConfig) else LiveConfig(settings)
    config = settings.current
    app = web.Application(
        middlewares=[access_log_middleware, error_middleware, mcp_refusals_middleware, access_middleware],
        client_max_size=config.server.max_body_bytes,
    )
    app[SETTINGS] = settings
    app[ALARM] = UpstreamAlarm()
    app[ATTEMPTS] = FailedAttempts()
    app[READINESS] = Readiness()
    app[API_DOCUMENTS] = api_docs.ApiDocuments()
    app.cleanup_ctx.append(_open_upstream)
    app.on_shutdown.append(_stop_streams)
    app.on_response_prepare.append(add_cors_headers)
    app.on_response_prepare.append(complete_headers)
    app.add_routes(api_docs.routes)
    app.add_routes(chat.routes)
    app.add_routes(health.routes)
    app.add_routes(models.routes)
    add_metrics(app)
    app.add_routes(usage.routes)
    add_mcp(app, config.mcp)
    add_protocols(app)
    add_page(app)
    return app


async def _open_upstream(app: web.Application) -> AsyncIterator[None]:
    """One session for everything that asks upstream."""
    config = app[SETTINGS].current
    app[STARTED_S] = time.monotonic()
    async with (
        create_session(config.upstream) as session,
        open_traces(os.environ, config.upstream) as start_span,
        _store(config) as store,
    ):
        openrouter = OpenRouterClient(session, config.upstream)
        app[OPENROUTER] = openrouter
        app[CATALOGUE] = catalogue = Catalogue(openrouter, ttl_s=config.models.ttl_s)
        app[SPENDING] = spending = Spending()
        app[ADMISSION] = admission = _budgets(app, store, catalogue.known)
        restarts = Restarts(admission.ledger, config.logs_path, encode_asked=encode_asked, decode_asked=decode_asked)
        app[STREAMS] = streams = Streams(
            openrouter,
            config.streams,
            log_stream,
            app[ALARM].note_end,
            spending.note_end,
            restarts.end,
            start_span=start_span,
            admit=admission.admit,
            on_start=restarts.begin,
        )
        restarts.attend(streams)
        app[RESULTS] = Results(streams)
        await admission.open(restarts.settle)
        if any(caller.budget_usd_per_day is not None for caller in config.callers):
            catalogue.refresh()  # budgets go by its prices from the first answer on
        async with _shared(app, store):
            await restarts.open()  # what others know of an answer is more than what is left of it here
            app[READINESS].reason = None
            yield
            await streams.stop_all("shutting_down", SHUTTING_DOWN)
            await restarts.aclose()
        await streams.aclose()
        await admission.aclose()
        await catalogue.aclose()


def _budgets(app: web.Application, store: Store | None, known: Known) -> Budgets:
    """Who keeps callers to their limits: with the other processes, where there is a store."""
    settings = app[SETTINGS]

    def find_caller(name: str) -> Caller | None:
        return settings.current.caller_named(name)

    if store is None:
        return Admission(Ledger(settings.current.ledger_path), find_caller, known)
    from server.shared.money.admission import SharedAdmission, open_book

    return SharedAdmission(store, open_book(store, settings.current.ledger_path), find_caller, known)


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[Store | None]:
    """Contact with the store that the settings name; nothing of it is loaded where they name none."""
    if config.redis.url is None:
        yield None
        return
    from server.shared.opening import open_store

    async with open_store(config) as store:
        yield store


@asynccontextmanager
async def _shared(app: web.Application, store: Store | None) -> AsyncIterator[None]:
    """Answers are shared with other processes until the context is left, and then nothing runs any more."""
    if store is None:
        yield
        return
    from server.shared.opening import share

    settings = app[SETTINGS]
    async with share(lambda: settings.current, store, app[STREAMS], encode_asked, decode_asked) as shared:
        app[SHARED] = shared
        yield


async def _stop_streams(app: web.Application) -> None:
    """Ends what still runs while its readers are still connected; aiohttp waits for them after this."""
    app[STREAMS].is_draining = True
    app[READINESS].reason = ENDING
    await app[STREAMS].stop_all("shutting_down", SHUTTING_DOWN)
