"""The settings of the whole program: `Config`, read once by `load_config`.

Precedence: flag > environment > `.env` in the working directory > `config.toml` > default. Each level becomes
a flat layer of path → value with the place it came from; the layers are laid over each other and pydantic
judges what is on top. A value that something above it overrides is not judged. Every problem is collected;
the first one never hides the next.

Secrets come from the environment, from files named there, or from systemd credentials, never from
`config.toml`. Uses `access`, for callers; the rest of `server` uses it.
"""

from __future__ import annotations

from server.config.caller_tables import check_name
from server.config.layers import Flags
from server.config.live import LiveConfig
from server.config.loading import load_config
from server.config.problems import EX_CONFIG, ConfigError, ConfigProblem, expected
from server.config.sections import Config, ServerConfig, Settings, environment_name, is_secret, setting_fields

__all__ = [
    "EX_CONFIG",
    "Config",
    "ConfigError",
    "ConfigProblem",
    "Flags",
    "LiveConfig",
    "ServerConfig",
    "Settings",
    "check_name",
    "environment_name",
    "expected",
    "is_secret",
    "load_config",
    "setting_fields",
]
