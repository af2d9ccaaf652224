"""What is told of the proxy on the way to upstream: it is no setting of ours, but part of how the settings work."""

from __future__ import annotations

from collections.abc import Mapping

from client.upstream.proxies import UnusableProxy, proxy_for
from server.config.sections import Config


def shown_proxy(config: Config, environ: Mapping[str, str]) -> str:
    """The proxy that requests to upstream go through, and what named it; never its password."""
    try:
        proxy = None if config.sandbox else proxy_for(config.upstream.base_url, environ)
    except UnusableProxy as exc:
        return f"unusable ({exc.variable})"
    return "none" if proxy is None else f"{proxy.url} ({proxy.variable})"
