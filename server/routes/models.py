"""The routes of model discovery: the list, search, families, one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import ETag, web

from client.border.json_codec import encode_json
from client.errors import Detail
from client.models.catalogue import etag_of
from client.models.query import QueryError, parse_model_query, unknown_parameters
from server.access.callers import check_models
from server.errors import invalid_request
from server.http.conditional import tagged, unchanged
from server.keys import CALLER, CATALOGUE


async def list_models(request: web.Request) -> web.Response:
    """`GET /models`: every model, whole; the array is kept encoded, as it is about 1 MB."""
    _refuse_parameters(request)
    listing = await request.app[CATALOGUE].listing(_allows(request))
    snapshot = listing.snapshot
    etag = _tag(snapshot.etag, listing.stale)
    return unchanged(request, etag) or _json(
        _beside(
            snapshot.data_json,
            {"total": len(snapshot.index.entries), "fetched_at": snapshot.fetched_at, "stale": listing.stale},
        ),
        etag,
    )


async def search_models(request: web.Request) -> web.Response:
    """`GET /models/search`: the models that the parameters ask for, see `client.models.query.ModelQuery`."""
    with _refused_queries():
        found = await request.app[CATALOGUE].search(parse_model_query(request.query.items()), _allows(request))
    data = encode_json(found.models)
    paging = {"total": found.total, "limit": found.limit, "offset": found.offset}
    etag = _tag(etag_of(data + encode_json(paging)), found.stale)
    return unchanged(request, etag) or _json(
        _beside(data, {**paging, "fetched_at": found.fetched_at, "stale": found.stale}),
        etag,
    )


async def list_families(request: web.Request) -> web.Response:
    """`GET /models/families`: every author and how many models it has, the largest first."""
    _refuse_parameters(request)
    listing = await request.app[CATALOGUE].listing(_allows(request))
    families = [{"family": family, "count": count} for family, count in listing.snapshot.index.families]
    content = encode_json({"data": families})
    etag = _tag(etag_of(content))
    return unchanged(request, etag) or _json(content, etag)


async def get_model(request: web.Request) -> web.Response:
    """`GET /models/{model_id}`: one model and its endpoints; 404 with `suggestions` of near ids.

    `stale` is there, and true, only when upstream could not be asked.
    """
    _refuse_parameters(request)
    check_models(request[CALLER], {"model": request.match_info["model_id"]})
    details = await request.app[CATALOGUE].get(request.match_info["model_id"])
    content: dict[str, Any] = {"data": details.model, "endpoints": details.endpoints}
    if details.stale:
        content["stale"] = True
    encoded = encode_json(content)
    etag = _tag(etag_of(encoded))
    return unchanged(request, etag) or _json(encoded, etag)


routes = [
    web.get("/models", list_models),
    web.get("/models/search", search_models),
    web.get("/models/families", list_families),
    web.get("/models/{model_id:.+}", get_model),
]
"""The last one takes every path below `/models`: ids hold slashes."""


def _allows(request: web.Request) -> Callable[[str], bool] | None:
    """Which models the caller may use, and so finds; None: all."""
    caller = request[CALLER]
    return caller.may_use if caller.models else None


@contextmanager
def _refused_queries() -> Iterator[None]:
    try:
        yield
    except QueryError as exc:
        raise invalid_request(exc.details) from exc


def _refuse_parameters(request: web.Request) -> None:
    if not request.query:
        return
    details = unknown_parameters(request.query, ())
    raise invalid_request(
        Detail(detail.where, f"{detail.what}; GET /models/search filters and sorts") for detail in details
    )


def _beside(data_json: bytes, facts: dict[str, Any]) -> bytes:
    """A list that is encoded already, and facts about it, in one copy: it may be large."""
    return b"".join((b'{"data":', data_json, b",", encode_json(facts)[1:]))


def _tag(etag: str, stale: bool = False) -> ETag:
    """Differs for a stale list: a caller who is told "unchanged" must not miss that it is.

    Weak, since `fetched_at` may differ while the models are the same.
    """
    return ETag(f"{etag}-stale" if stale else etag, is_weak=True)


def _json(body: bytes, etag: ETag) -> web.Response:
    return tagged(body, "application/json", etag)
