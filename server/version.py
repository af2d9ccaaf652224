"""Which version of the program this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "openrouter-sse-backend"


def program_version() -> str:
    """The installed version; "unknown" when run from a folder that was never installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
