"""What to paste into a client's configuration, as text. Pure module."""

from __future__ import annotations

from collections.abc import Mapping

from mcp_app.clients.places import WHERE
from mcp_app.clients.snippets import CLIENTS, NAME, NotPossible, local_snippet, remote_snippet

__all__ = ["CLIENTS", "NAME", "WHERE", "NotPossible", "http_config", "stdio_config"]


def stdio_config(
    client: str, command: str, arguments: list[str], *, environment: Mapping[str, str], needs_key: bool = True
) -> str:
    """The entry that starts `command`, an absolute path; with a place for the key unless none is needed."""
    return local_snippet(client, command, arguments, environment, needs_key=needs_key).text()


def http_config(client: str, url: str, *, needs_token: bool) -> str:
    """The entry for a server that runs already.

    Raises:
        NotPossible: Claude Desktop starts programs only.
    """
    return remote_snippet(client, url, needs_token=needs_token).text()
