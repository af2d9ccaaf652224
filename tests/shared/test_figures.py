"""What `/health` and `/metrics` say of a shared store."""

from __future__ import annotations

import json
import re

from server.config import Config
from tests.shared.processes import shared_of, sharing
from tests.shared.waiting import until
from tests.support.engines import Engine
from tests.support.process import ROOT
from tests.support.serving import Api


async def health(api: Api) -> dict[str, object]:
    _, body = await api.request("GET", "/health")
    found: dict[str, object] = json.loads(body)["shared"]
    return found


async def test_health_tells_of_the_store_and_lives_without_it(engine: Engine, config: Config) -> None:
    async with sharing(config, engine) as (one, other):
        await until(lambda: shared_of(one).replicas == shared_of(other).replicas == 2)
        assert await health(one) == {"contact": True, "replicas": 2, "mirrors": 0, "unacked_bytes": 0}
        engine.kill()
        await until(lambda: not shared_of(one).has_contact)
        assert await health(one) == {"contact": False, "replicas": 0, "mirrors": 0, "unacked_bytes": 0}
        for path in ("/health", "/ready"):
            response, _ = await one.request("GET", path)
            assert response.status == 200


async def test_every_figure_of_it_is_documented_and_exists(engine: Engine, config: Config) -> None:
    async with sharing(config, engine, 1) as (one,):
        await one.chat(model="sandbox/echo")
        _, body = await one.request("GET", "/metrics")
    told = set(re.findall(r"^# TYPE (openrouter_sse_shared_\w+) ", body.decode(), re.MULTILINE))
    text = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"^\| `(openrouter_sse_shared_\w+)` \|", text, re.MULTILINE))
    assert told == documented
    assert "openrouter_sse_shared_contact 1.0" in body.decode()
    assert re.search(r"^openrouter_sse_shared_entries_total [1-9]", body.decode(), re.MULTILINE)
