"""Reads `/metrics` as Prometheus would."""

from __future__ import annotations

from typing import Any

import aiohttp
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


class Scrape:
    """One answer of `/metrics`, parsed by Prometheus' own library.

    Attributes:
        text: as it came.
        families: by name, without `_total`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    @property
    def names(self) -> set[str]:
        """Names that a query may use."""
        return {sample.name for sample in self._samples}

    def samples_of(self, name: str) -> list[Sample]:
        """Every sample of that name."""
        return [sample for sample in self._samples if sample.name == name]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels; 0 when there is none."""
        return sum(sample.value for sample in self.samples_of(name) if labels.items() <= sample.labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label has."""
        return {sample.labels[label] for sample in self.samples_of(name)}


async def scrape(http: aiohttp.ClientSession, url: str, **headers: Any) -> Scrape:
    """Asks the server at `url` for its figures."""
    async with http.get(f"{url}/metrics", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return Scrape(await response.text())
