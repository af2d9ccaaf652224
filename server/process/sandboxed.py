"""What `--sandbox` does, for both commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from client.config import PROTOCOLS
from server.config import Config


@asynccontextmanager
async def sandboxed(config: Config) -> AsyncIterator[Config]:
    """The settings with the sandbox as upstream, when it was asked for."""
    if not config.sandbox:
        yield config
        return
    from client.sandbox import open_sandbox

    async with open_sandbox(record=0) as sandbox:
        yield as_sandboxed(config, sandbox.base_url)


def as_sandboxed(config: Config, base_url: str) -> Config:
    """The settings with a sandbox that runs already as upstream."""
    changes: dict[str, object] = {"base_url": base_url, "api_key": None}
    if config.upstream.protocols is None:
        changes["protocols"] = PROTOCOLS
    if not config.upstream.model.startswith("sandbox/"):  # the sandbox knows no others
        changes["model"] = "sandbox/reasoner"
    return config.model_copy(update={"upstream": config.upstream.model_copy(update=changes)})
