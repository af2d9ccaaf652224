"""Reading upstream's model lists: one page, and the way to the next.

Upstream answers `{data: [...], total_count, links: {next: url or null}}`; older and OpenAI-compatible
servers only `{data: [...]}`, some a bare list. Of a link to the next page only the query is taken, and only
when it points back to the list on the same host: the request carries the key, so a list must not choose
where it goes.

Pure module: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urljoin, urlsplit

from client.errors import Failure, UpstreamProtocolError
from client.models.facts import Model

_LONGEST_ID = 1000
_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_page(body: Any) -> tuple[list[Model], str | None]:
    """The model objects of a page and the link to the next page, if any.

    Entries without an `id` that is a text of some length are left out: nobody could ask for them.

    Raises:
        UpstreamProtocolError: the body is no list of models.
    """
    listed = body.get("data") if isinstance(body, dict) else body
    if not isinstance(listed, list):
        raise _not_a_list()
    models = [entry for entry in listed if isinstance(entry, dict) and _is_id(entry.get("id"))]
    return models, _next_link(body)


def parse_model(body: Any) -> Model:
    """The model object of a `{data: Model}` reply.

    Raises:
        UpstreamProtocolError: the reply holds no model.
    """
    model = body.get("data") if isinstance(body, dict) else None
    if not isinstance(model, dict) or not _is_id(model.get("id")):
        raise _not_a_list()
    return model


def parse_endpoints(body: Any) -> list[dict[str, Any]]:
    """The endpoints of a `{data: {endpoints: [...]}}` reply; empty where there are none."""
    described = body.get("data") if isinstance(body, dict) else None
    endpoints = described.get("endpoints") if isinstance(described, dict) else None
    if not isinstance(endpoints, list):
        return []
    return [endpoint for endpoint in endpoints if isinstance(endpoint, dict)]


def next_page_params(base_url: str, path: str, link: str) -> dict[str, str] | None:
    """The query of the next page, or None when the link leads anywhere but to the same list.

    Args:
        base_url: upstream's base URL, such as `https://host/api/v1`.
        path: the list's path below it, such as `/models`.
        link: absolute, or relative to the host, to the base URL or to the list.
    """
    try:
        here = urlsplit(base_url.rstrip("/") + path)
        there = urlsplit(urljoin(here.geturl(), link))
        if _origin(here) != _origin(there) or there.path not in (here.path, path):
            return None
    except ValueError:  # not a URL: a bad port, a broken IPv6 address
        return None
    return dict(parse_qsl(there.query, keep_blank_values=True))


def join_pages(pages: Iterable[Iterable[Model]]) -> list[Model]:
    """All models in order, each id once: a list that changes between two pages repeats some."""
    joined: dict[str, Model] = {}
    for page in pages:
        for model in page:
            joined.setdefault(model["id"], model)
    return list(joined.values())


def _is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_ID and not value.isspace() and value != ""


def _next_link(body: Any) -> str | None:
    links = body.get("links") if isinstance(body, dict) else None
    link = links.get("next") if isinstance(links, dict) else None
    return link if isinstance(link, str) and link else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _DEFAULT_PORTS.get(url.scheme)


def _not_a_list() -> UpstreamProtocolError:
    return UpstreamProtocolError(
        Failure(
            error="Upstream's answer is not a list of models; check upstream.base_url.",
            type="upstream_protocol",
            status=502,
            retryable=True,
        )
    )
