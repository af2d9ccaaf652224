"""Failures below the two mounts of OpenAI's and OpenRouter's routes: each in the words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from client.errors import Failure
from server.errors import told_as
from server.protocols.chat_completions.failures import openai_error, openrouter_error, status_of


class FailureWords:
    """What of a dialect (`server.protocols.answering.Dialect`) says failures.

    Args:
        is_openrouters: whether in OpenRouter's words, else in OpenAI's.
    """

    def __init__(self, *, is_openrouters: bool) -> None:
        self._is_openrouters = is_openrouters

    def failed(self, failure: Failure) -> tuple[int, Any]:
        """Status and JSON of a failure."""
        return status_of(failure), openrouter_error(failure) if self._is_openrouters else openai_error(failure)

    def respond(self, failure: Failure, headers: Mapping[str, str] | None = None) -> web.Response:
        """The reply that refuses a request."""
        status, error = self.failed(failure)
        return told_as(error, status, failure, headers)
