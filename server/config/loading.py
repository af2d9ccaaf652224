"""Reads every level of settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from client.upstream.proxies import UnusableProxy, proxy_for
from server.config.caller_tables import find_callers
from server.config.judging import validate
from server.config.layers import (
    Flags,
    Found,
    Variables,
    file_layer,
    find_file,
    find_state_folder,
    flags_layer,
    read_dotenv,
    variables_layer,
)
from server.config.problems import ConfigError, ConfigProblem, dotted
from server.config.secrets import find_secret
from server.config.sections import Config, Settings
from server.config.store_problems import store_problems


def load_config(flags: Flags, environ: Mapping[str, str], cwd: Path) -> Config:
    """Reads every level of settings; called at start-up and at every reload.

    Args:
        flags: from the command line.
        environ: the process environment; nothing else is read from the process.
        cwd: the working directory, where `.env` and `config.toml` are looked for.

    Raises:
        ConfigError: with every problem there is.
    """
    problems: list[ConfigProblem] = []
    environment = Variables(environ, "environment variable")
    dotenv = Variables(read_dotenv(cwd / ".env", problems), str(cwd / ".env"))
    file, text = find_file(flags, environment, dotenv, cwd, problems)
    found = {
        **file_layer(file, text, problems),
        **variables_layer(dotenv),
        **variables_layer(environment),
        **flags_layer(flags),
    }
    if key := find_secret("OPENROUTER_API_KEY", environment, dotenv, cwd, problems):
        found["upstream", "api_key"] = key
    for name, path in (("REDIS_URL", ("redis", "url")), ("REDIS_TEXT_KEY", ("redis", "text_key"))):
        if secret := find_secret(name, environment, dotenv, cwd, problems):
            found[path] = secret
    listed = find_secret("SERVER_TOKENS", environment, dotenv, cwd, problems)
    callers = find_callers(found.pop(("callers",), None), listed, problems)
    settings, invalid = validate(found)
    problems += invalid
    problems += store_problems(settings.redis, found["redis", "url"].source if settings.redis.url else "")
    state_folder = None
    try:
        state_folder = find_state_folder(settings.server.state_dir, environ, cwd)
    except ValueError as exc:
        problems.append(ConfigProblem(found["server", "state_dir"].source, str(exc), "server.state_dir"))
    if flags.sandbox:
        found["sandbox",] = Found(True, "flag --sandbox")
    else:
        problems += _proxy_problems(settings.upstream.base_url, environ)
    config = Config(
        **{name: getattr(settings, name) for name in Settings.model_fields},
        sandbox=flags.sandbox,
        callers=tuple(caller for caller, _ in callers),
        file=file,
        state_folder=state_folder,
        sources={
            **{dotted(path): item.source for path, item in found.items()},
            **{f"callers[{n}]": source for n, (_, source) in enumerate(callers)},
        },
    )
    if problems:
        raise ConfigError(problems, config)
    return config


def _proxy_problems(base_url: str, environ: Mapping[str, str]) -> list[ConfigProblem]:
    """A proxy that cannot be used is not passed over in silence: whoever set it does not want direct connections."""
    try:
        proxy_for(base_url, environ)
    except UnusableProxy as exc:
        return [ConfigProblem(f"environment variable {exc.variable}", str(exc))]
    return []
