"""A few hundred generated requests; `python -m tests.support.schema_fuzz` does ten thousand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.process import running_server

if TYPE_CHECKING:
    from tests.support.schema_fuzz import Fuzz


async def test_generated_requests_get_no_answer_that_is_not_described() -> None:
    from tests.support.schema_fuzz import SERVER_SETTINGS  # loads schemathesis, which takes seconds

    async with running_server("--sandbox", env=SERVER_SETTINGS) as server:
        found = await asyncio.to_thread(_fuzz, server.url)
        assert found.faults == {}
        assert b"Traceback" not in server.output
    statuses = {status for path, status in found.counts if "{stream_id}" not in path}
    assert statuses >= {200, 304, 400, 402, 404, 405, 415, 422}
    assert max(statuses) < 500


_PATHS = "^/(?!api/v1/(messages|responses|completions|embeddings))"
"""What is the same below both mounts is asked below one of them."""


def _fuzz(url: str) -> Fuzz:
    from tests.support.schema_fuzz import Fuzz

    found = Fuzz(url, seed=1)
    found.run(2, ("coverage", "fuzzing"), _PATHS)
    return found
