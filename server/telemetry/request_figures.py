"""How many requests there were, by route and status, and how long they took: plain numbers, noted once a request."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from client.streams.figures import OTHER
from client.streams.histogram import Histogram

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

UNMATCHED = "unmatched"
"""The route of requests for which there is none."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestFigures:
    """Sums over all requests. A route is named by its template, so that there are never more names than routes.

    Attributes:
        counts: requests by method, route and status; 499 for callers who left before there was an answer.
        durations_s: seconds until the last byte of the answer, by method and route.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.durations_s: dict[tuple[str, str], Histogram] = {}

    def note(self, request: web.Request, status: int, duration_s: float) -> None:
        """A request has ended."""
        method = request.method if request.method in _METHODS else OTHER
        resource = request.match_info.route.resource
        route = UNMATCHED if resource is None else resource.canonical
        self.counts[method, route, status] += 1
        histogram = self.durations_s.get((method, route))
        if histogram is None:
            histogram = self.durations_s[method, route] = Histogram(BOUNDS_S)
        histogram.observe(duration_s)


REQUEST_FIGURES = web.AppKey("REQUEST_FIGURES", RequestFigures)
