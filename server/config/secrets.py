"""Secrets: from the environment, from files named there, or from systemd credentials."""

from __future__ import annotations

from pathlib import Path

from client.config import is_placeholder, is_unset, unquoted
from server.config.files import path_of, read_text, reason_of
from server.config.layers import Found, Variables
from server.config.problems import ConfigProblem

_SECRETS = {
    "OPENROUTER_API_KEY": "upstream.api_key",
    "SERVER_TOKENS": "tokens",
    "REDIS_URL": "redis.url",
    "REDIS_TEXT_KEY": "redis.text_key",
}
"""Environment name → the key under which problems and sources name it."""


def find_secret(
    name: str, environment: Variables, dotenv: Variables, cwd: Path, problems: list[ConfigProblem]
) -> Found | None:
    """A secret by its environment name; the environment goes before a credential, and that before `.env`."""
    return (
        _named_secret(name, environment, environment, cwd, problems)
        or _credential(name, environment, problems)
        or _named_secret(name, dotenv, environment, cwd, problems)
    )


def _named_secret(
    name: str, variables: Variables, environment: Variables, cwd: Path, problems: list[ConfigProblem]
) -> Found | None:
    """NAME, else the content of the file in NAME_FILE."""
    if (found := variables.get(name)) and not is_placeholder(str(found.value)):
        return found
    named = variables.get(f"{name}_FILE")
    if named is None:
        return None
    try:
        path = path_of(str(named.value), environment.values, cwd)
    except ValueError as exc:
        problems.append(ConfigProblem(named.source, str(exc), _SECRETS[name]))
        return None
    try:
        text = read_text(path)
    except OSError as exc:
        problems.append(ConfigProblem(named.source, f"{path} cannot be read: {reason_of(exc)}", _SECRETS[name]))
        return None
    text = unquoted(text)
    if is_unset(text):
        problems.append(ConfigProblem(named.source, f"{path} is empty", _SECRETS[name]))
        return None
    return None if is_placeholder(text) else Found(text, f"{named.source} {path}")


def _credential(name: str, environment: Variables, problems: list[ConfigProblem]) -> Found | None:
    """What systemd's LoadCredential= left for us (systemd.exec(5), section Credentials)."""
    folder = environment.values.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name.lower()
    try:
        text = read_text(path)
    except FileNotFoundError:
        return None
    except OSError as exc:
        what = f"{path} cannot be read: {reason_of(exc)}"
        problems.append(ConfigProblem(f"credential {path.name}", what, _SECRETS[name]))
        return None
    text = unquoted(text)
    return None if is_unset(text) or is_placeholder(text) else Found(text, f"credential {path.name}")
