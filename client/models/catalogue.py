"""The model list, fetched once for all callers and kept for a while.

Searching happens here, on the whole list, as upstream's own filters were added over time; only orders that need
numbers upstream alone has (`UPSTREAM_SORTS`) are asked for, and then only the ids are kept. How long a list is
kept and what is given while upstream is down is decided by `client.models.single_flight`. Nothing is asked before
somebody calls.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from client.border.json_codec import encode_json
from client.border.large_json import encode_in_steps, in_steps
from client.errors import Failure, OpenRouterError, UpstreamStatusError
from client.models.facts import Facts, Model, facts_of
from client.models.pages import join_pages, next_page_params, parse_endpoints, parse_model, parse_page
from client.models.query import UPSTREAM_SORTS, ModelQuery
from client.models.search import Allows, ModelIndex, near_matches, search_models
from client.models.single_flight import SingleFlight

T = TypeVar("T")
P = ParamSpec("P")

logger = logging.getLogger(__name__)

_LONG_LIST: Final = 2000
"""Models in a list from which on it is not searched in the loop: 2,000 take some milliseconds."""
MAX_PAGES: Final = 50
"""Pages of one list that are followed; upstream's pages hold 500 models."""

_LIST_PATH = "/models"
_NO_SUCH_MODEL = frozenset({400, 404, 405})
"""What servers say to a model they do not know, or when they have no route for a single model at all."""
_SENDABLE_ID = re.compile(r"[\w.~:@+-]+(/[\w.~:@+-]+)*", re.ASCII)
_DOTS = re.compile(r"(^|/)\.+(/|$)")


class JsonGetter(Protocol):
    """What the catalogue needs of `client.upstream.openrouter.OpenRouterClient`."""

    @property
    def base_url(self) -> str: ...

    async def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON of a GET; raises `OpenRouterError`."""
        ...


class ModelNotFound(OpenRouterError):
    """Neither the list nor upstream knows the model; the failure holds `suggestions`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model list as it was at one time.

    Attributes:
        index: the models and what search knows of them.
        data_json: all models as a JSON array, ready to be sent.
        etag: a hash of `data_json`, without quotes.
        fetched_at: ISO 8601, UTC, whole seconds.
    """

    index: ModelIndex
    data_json: bytes
    etag: str
    fetched_at: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The list that callers get; `stale` when it should have been renewed and could not be."""

    snapshot: Snapshot
    stale: bool


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of a search: whole models, how many there are before paging, and of what list."""

    models: list[Model]
    total: int
    limit: int
    offset: int
    fetched_at: str
    stale: bool


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """One model, and the endpoints that serve it; none where upstream tells none.

    `stale` when the list is, or when the endpoints could not be asked for.
    """

    model: Model
    endpoints: list[dict[str, Any]]
    stale: bool


class Catalogue:
    """The models upstream offers.

    Args:
        openrouter: the client to ask; not closed here.
        ttl_s: age at which a list is fetched again; 0 keeps none.
        patience_s: how long a caller waits for upstream when something can be answered without it.
        clock: seconds that only grow, for ages.
        wall_clock: epoch seconds, for `fetched_at`.
    """

    def __init__(
        self,
        openrouter: JsonGetter,
        *,
        ttl_s: float = 300.0,
        patience_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._openrouter = openrouter
        self._ttl_s = ttl_s
        self._patience_s = patience_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._chat = self._kept_list({})
        self._everything = self._kept_list({"output_modalities": "all"})
        self._orders: dict[tuple[str, bool], SingleFlight[list[str]]] = {}

    @property
    def ttl_s(self) -> float:
        """Age at which a list is fetched again; can be set, and holds for what is kept already."""
        return self._ttl_s

    @ttl_s.setter
    def ttl_s(self, ttl_s: float) -> None:
        self._ttl_s = self._chat.ttl_s = self._everything.ttl_s = ttl_s
        for order in self._orders.values():
            order.ttl_s = ttl_s

    @property
    def size(self) -> int:
        """How many models were listed last; 0 before the first time. Asks nobody."""
        return 0 if self._chat.held is None else len(self._chat.held.value.index.entries)

    @property
    def age_s(self) -> float | None:
        """Seconds since the list was fetched; None before the first time. Asks nobody."""
        return self._chat.age_s

    async def listing(self, allows: Allows | None = None) -> Listing:
        """Upstream's list: every model that answers in text; of those that are allowed.

        Raises:
            OpenRouterError: there is no list yet, and upstream gives none.
        """
        snapshot, stale = await self._chat.get()
        if allows is not None:
            snapshot = await _aside(snapshot, _narrowed, snapshot, allows)
        return Listing(snapshot, stale)

    async def search(self, query: ModelQuery, allows: Allows | None = None) -> SearchResult:
        """The models a query asks for, of those that are allowed; nothing found is an empty page.

        Upstream's list leaves out what gives no text (embeddings, images, speech) unless asked, so a query for an
        output other than text searches a second list that holds everything.

        Raises:
            QueryError: a word that neither the documentation nor any model knows.
            OpenRouterError: there is no list, or not the order asked for, and upstream gives none.
        """
        everything = any(word != "text" for word in query.output_modalities)
        snapshot, stale = await (self._everything if everything else self._chat).get()
        order: list[str] = []
        if query.sort in UPSTREAM_SORTS:
            order, old_order = await self._order(UPSTREAM_SORTS[query.sort], everything).get()
            stale = stale or old_order
        found = await _aside(snapshot, partial(search_models, allows=allows), snapshot.index, query, order)
        return SearchResult(found.models, found.total, query.limit, query.offset, snapshot.fetched_at, stale)

    async def get(self, model_id: str) -> ModelDetails:
        """One model, from the list or, if it is not there (an alias, a variant, no text), from upstream.

        Raises:
            ModelNotFound: nobody knows it.
            OpenRouterError: there is no list, or upstream cannot be asked.
        """
        snapshot, stale = await self._chat.get()
        model = snapshot.index.by_id.get(model_id)
        if model is None:
            model = await self._ask_for_model(model_id)
        endpoints, asked = await self._endpoints(model_id)
        return ModelDetails(model, endpoints, stale or not asked)

    def refresh(self) -> None:
        """Has a list that is missing or too old fetched in the background, for those who only look at it."""
        self._chat.refresh()

    def known(self, model_id: str) -> Model | None:
        """The model in the last list, or for one that is not there (`x/y:nitro`) that without its `:variant`.

        Asks nobody and never waits; a list that is too old, or missing, is fetched in the background.
        """
        self.refresh()
        held = self._chat.held
        if held is None:
            return None
        listed = held.value.index.by_id
        return listed.get(model_id) or listed.get(model_id.partition(":")[0])

    def suggestions(self, model_id: str) -> list[str]:
        """Ids near one that nobody knows, from the last list; asks nobody."""
        held = self._chat.held
        return [] if held is None else near_matches(model_id, held.value.index.by_id)

    async def aclose(self) -> None:
        """Ends what is being fetched."""
        await self._chat.aclose()
        await self._everything.aclose()
        for order in self._orders.values():
            await order.aclose()

    def _kept_list(self, params: dict[str, str]) -> SingleFlight[Snapshot]:
        async def fetch() -> Snapshot:
            return await self._snapshot(await self._fetch_list(params))

        return self._kept(fetch)

    def _kept(self, fetch: Callable[[], Awaitable[T]]) -> SingleFlight[T]:
        return SingleFlight(fetch, ttl_s=self._ttl_s, patience_s=self._patience_s, clock=self._clock)

    def _order(self, upstream_sort: str, everything: bool) -> SingleFlight[list[str]]:
        key = upstream_sort, everything
        if key not in self._orders:
            params = {"sort": upstream_sort} | ({"output_modalities": "all"} if everything else {})

            async def fetch() -> list[str]:
                return [model["id"] for model in await self._fetch_list(params)]

            self._orders[key] = self._kept(fetch)
        return self._orders[key]

    async def _snapshot(self, models: list[Model]) -> Snapshot:
        index = await _index_in_steps(models)
        pieces = await encode_in_steps(index.models)
        return Snapshot(
            index=index,
            data_json=b"".join(pieces),
            etag=await _etag_in_steps(pieces),
            fetched_at=datetime.fromtimestamp(int(self._wall_clock()), UTC).isoformat(),
        )

    async def _fetch_list(self, params: dict[str, str]) -> list[Model]:
        """Every page of a list, joined. A link that leads elsewhere or in a circle ends it with a warning."""
        pages: list[list[Model]] = []
        seen: list[dict[str, str]] = []
        following: dict[str, str] | None = params
        while following is not None:
            seen.append(following)
            models, link = parse_page(await self._openrouter.get_json(_LIST_PATH, following or None))
            pages.append(models)
            following = self._next_params(link, seen)
        return join_pages(pages)

    def _next_params(self, link: str | None, seen: list[dict[str, str]]) -> dict[str, str] | None:
        if link is None:
            return None
        params = next_page_params(self._openrouter.base_url, _LIST_PATH, link)
        if params is None or params in seen or len(seen) >= MAX_PAGES:
            logger.warning("The model list's link to a next page is not followed after %d pages", len(seen))
            return None
        return params

    async def _ask_for_model(self, model_id: str) -> Model:
        if not _is_sendable(model_id):
            raise await self._not_found(model_id)
        try:
            return parse_model(await self._openrouter.get_json(f"/model/{model_id}"))
        except UpstreamStatusError as exc:
            if exc.upstream_status in _NO_SUCH_MODEL:
                raise await self._not_found(model_id) from exc
            raise

    async def _endpoints(self, model_id: str) -> tuple[list[dict[str, Any]], bool]:
        """The endpoints, and whether upstream said so; a failure must not hide a model that is known."""
        if "/" not in model_id or not _is_sendable(model_id):
            return [], True
        try:
            async with asyncio.timeout(self._patience_s):
                return parse_endpoints(await self._openrouter.get_json(f"/models/{model_id}/endpoints")), True
        except TimeoutError:
            return [], False
        except OpenRouterError as exc:
            return [], exc.upstream_status in _NO_SUCH_MODEL

    async def _not_found(self, model_id: str) -> ModelNotFound:
        held = self._chat.held
        suggestions = [] if held is None else await _aside(held.value, self.suggestions, model_id)
        hint = f"; did you mean {suggestions[0]}?" if suggestions else "; GET /models lists what there is."
        failure = Failure(
            error=f"There is no model {model_id[:200]}{hint}",
            type="not_found",
            status=404,
            retryable=False,
            suggestions=suggestions,
        )
        return ModelNotFound(failure, upstream_status=404)


async def _index_in_steps(models: list[Model]) -> ModelIndex:
    """An index whose tables are made already. A model of which something cannot be understood is left out alone."""
    entries: list[Facts] = []
    async for model in in_steps(models):
        try:
            entries.append(facts_of(model))
        except Exception:
            logger.exception("an entry of the model list cannot be understood, and is left out")
    index = ModelIndex(tuple(entries))
    for make in (lambda: index.by_id, lambda: index.families, lambda: index.known_words, lambda: index.models):
        make()
        await asyncio.sleep(0)
    return index


async def _etag_in_steps(pieces: list[bytes]) -> str:
    content = hashlib.blake2b(digest_size=16)
    async for piece in in_steps(pieces, size=1):
        content.update(piece)
    return content.hexdigest()


async def _aside(snapshot: Snapshot, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Work that goes through a whole list: beside the loop where that is long."""
    if len(snapshot.index.entries) <= _LONG_LIST:
        return work(*args, **named)
    return await asyncio.to_thread(work, *args, **named)


def _narrowed(snapshot: Snapshot, allows: Allows) -> Snapshot:
    index = snapshot.index.narrowed(allows)
    data = encode_json(index.models)
    return replace(snapshot, index=index, data_json=data, etag=etag_of(data))


def etag_of(content: bytes) -> str:
    """An entity tag, without quotes, for content that is the same whenever the tag is."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _is_sendable(model_id: str) -> bool:
    """False for ids that would change the path they are put into, such as `../key`: it is sent with our key."""
    return _SENDABLE_ID.fullmatch(model_id) is not None and _DOTS.search(model_id) is None
