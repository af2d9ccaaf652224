"""The settings of `client`, as sections that `server.config` puts together.

Every field's default, range and description is stated here once; `config.toml`, the README and the error
messages follow it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A frozen group of settings that knows no other key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UpstreamConfig(Section):
    """Where OpenRouter is and how long to wait for it."""

    base_url: str = "https://openrouter.ai/api/v1"
    api_key: SecretStr | None = None
    http_referer: str | None = None
    x_title: str | None = None
    model: str = "openai/gpt-4o-mini"
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    connect_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    idle_timeout_s: Annotated[float, Field(gt=0)] = 90.0
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    max_event_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024


class ModelsConfig(Section):
    """How long the catalogue is kept."""

    ttl_s: Annotated[float, Field(ge=0)] = 300.0


class StreamsConfig(Section):
    """How long an answer outlives its readers, and how much is kept of it."""

    grace_s: Annotated[float, Field(ge=0)] = 10.0
    max_grace_s: Annotated[float, Field(ge=0)] = 600.0
    retain_s: Annotated[float, Field(ge=0)] = 300.0
    max_log_bytes: Annotated[int, Field(ge=65536)] = 8 * 1024 * 1024
    max_total_bytes: Annotated[int, Field(ge=65536)] = 256 * 1024 * 1024
    max_active: Annotated[int, Field(ge=1)] = 1000
