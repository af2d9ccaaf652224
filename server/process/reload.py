"""Reads the settings again while the server runs.

What can take effect does so for the next request and the next answer; answers under way keep what they began with.
Settings with a mistake change nothing: every problem is logged and the old ones stay. What needs a restart keeps its
value, and the log names it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from server.access.callers import keep_names
from server.config import Config, ConfigError, setting_fields
from server.keys import CATALOGUE, OPENROUTER, SETTINGS, STREAMS
from server.process.hangup import Hangup
from server.process.meanwhile import meanwhile
from server.process.notify import Notifier
from server.process.reporting import status_line
from server.process.sandboxed import as_sandboxed
from server.telemetry.logs import set_log_level

logger = logging.getLogger(__name__)

LIVE = frozenset(
    {
        "upstream.api_key",
        "upstream.http_referer",
        "upstream.x_title",
        "upstream.model",
        "upstream.timeout_s",
        "upstream.connect_timeout_s",
        "upstream.idle_timeout_s",
        "upstream.protocols",
        "upstream.max_retries",
        "upstream.max_event_bytes",
        "server.max_body_bytes",
        "server.request_timeout_s",
        "server.ping_interval_s",
        "server.shutdown_timeout_s",
        "server.cors_origins",
        "server.trusted_proxies",
        "server.root_path",
        "server.log_level",
        "models.ttl_s",
        "streams.grace_s",
        "streams.max_grace_s",
        "streams.retain_s",
        "streams.max_log_bytes",
        "streams.max_result_bytes",
        "streams.max_total_bytes",
        "streams.max_active",
        "streams.max_disk_bytes",
        "page.enabled",
    }
)
"""Settings that a reload puts in force, beside the callers; all others need a restart, and so does a key that comes
with another base URL: the old upstream must not get it."""


@asynccontextmanager
async def reloading(
    app: web.Application, hangup: Hangup, notifier: Notifier, *, end: Callable[[], None]
) -> AsyncIterator[None]:
    """Reloads at every SIGHUP while the context is open; `end` is for one that means the end."""
    wanted = asyncio.Event()
    async with meanwhile(_reload_when(wanted, app, notifier), name="reload"):
        hangup.listen(wanted.set, end)
        yield


async def _reload_when(wanted: asyncio.Event, app: web.Application, notifier: Notifier) -> None:
    """One reload at a time; signals that come during one ask for one more."""
    while True:
        await wanted.wait()
        wanted.clear()
        notifier.send_reloading()
        try:
            await reload(app)
        except Exception:
            logger.exception("the settings could not be read again; the old ones stay")
        finally:
            notifier.send(READY=1, STATUS=status_line(app))


async def reload(app: web.Application) -> bool:
    """Reads the settings and puts them in force; False, with every problem in the log, when they cannot be used."""
    settings = app[SETTINGS]
    if settings.load is None:
        return False
    old = settings.current
    try:
        read = await asyncio.to_thread(settings.load)
        problems = _objections(old, read)
    except ConfigError as exc:
        problems = [str(problem) for problem in exc.problems]
    settings.refused = problems[0] if problems else None
    if problems:
        for problem in problems:
            logger.error("settings not reloaded, the old ones stay: %s", problem)
        return False
    new, changed, waiting = merge(old, as_sandboxed(read, old.upstream.base_url) if old.sandbox else read)
    apply(app, new)
    logger.info("settings reloaded", extra={"fields": {"changed": changed, "callers": len(new.callers)}})
    if waiting:
        logger.warning("settings that take effect at the next restart: %s", ", ".join(waiting))
    if copied := _from_credentials(read):
        logger.warning(
            "systemd renews credentials at a restart only; as they were at the start: %s", ", ".join(copied)
        )
    return True


def _objections(old: Config, read: Config) -> list[str]:
    """What speaks against settings that are right in themselves."""
    found: list[str] = []
    if old.file is not None and read.file != old.file and not old.file.exists():
        found.append(f"{old.file}: is gone, and it was in use; put it back, an empty one if it shall say nothing")
    if read.lacks_key:
        found.append(f"there is no key for {read.upstream.base_url} any more")
    return found


def _from_credentials(config: Config) -> list[str]:
    """Secrets that systemd copied for this process when it started it: a reload reads the same copy again."""
    keys = [key for key, source in config.sources.items() if source.startswith("credential ")]
    return sorted({"callers" if key.startswith("callers[") else key for key in keys})


def merge(old: Config, new: Config) -> tuple[Config, list[str], list[str]]:
    """The new settings, but with the old values of those that need a restart.

    Returns:
        The settings, the keys that take effect, and the keys that wait for a restart.
    """
    kept: dict[str, dict[str, object]] = {}
    new = new.model_copy(update={"callers": keep_names(old.callers, new.callers)})
    changed = [] if new.callers == old.callers else ["callers"]
    waiting: list[str] = []
    for section, key in setting_fields():
        before = getattr(getattr(old, section), key)
        if getattr(getattr(new, section), key) == before:
            continue
        if f"{section}.{key}" in LIVE and not (key == "api_key" and old.upstream.base_url != new.upstream.base_url):
            changed.append(f"{section}.{key}")
        else:
            waiting.append(f"{section}.{key}")
            kept.setdefault(section, {})[key] = before
    sections = {name: getattr(new, name).model_copy(update=values) for name, values in kept.items()}
    return new.model_copy(update=sections), changed, waiting


def apply(app: web.Application, config: Config) -> None:
    """Puts settings in force; those that need a restart must be the old ones."""
    app[SETTINGS].current = config
    app[OPENROUTER].configure(config.upstream)
    app[CATALOGUE].ttl_s = config.models.ttl_s
    app[STREAMS].configure(config.streams)
    set_log_level(config.server.log_level)
