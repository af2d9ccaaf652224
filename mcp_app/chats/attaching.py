"""Files that go along with a question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from client.models.facts import Model, facts_of
from mcp_app.files.folders import FileRefused, Folders
from mcp_app.files.reading import Attached, read_files
from mcp_app.results.failures import ToolFailure

ONLY_LOCAL = (
    "files, save_to: this server runs elsewhere and touches no files for its callers. Give an https URL or the "
    "content in `messages`; the local program openrouter-mcp can read and save files."
)


async def attach(folders: Folders | None, paths: Sequence[str]) -> list[Attached]:
    """Reads the files, on a thread.

    Raises:
        ToolFailure: one may not be read, or holds nothing that can be sent.
    """
    if not paths:
        return []
    if folders is None:
        raise ToolFailure(f"{ONLY_LOCAL} Nothing was sent.")
    try:
        return await asyncio.to_thread(read_files, folders, paths)
    except FileRefused as exc:
        raise ToolFailure(f"files: {exc} Nothing was sent.") from exc


def check_taken(model: Model | None, attached: Sequence[Attached]) -> None:
    """Refuses files that the model does not take, as far as the catalogue tells.

    A PDF goes to every model: OpenRouter parses it for those that cannot.

    Raises:
        ToolFailure: it does not take one of them.
    """
    if model is None:
        return
    facts = facts_of(model)
    taken = facts.input_modalities | {"text", "file"}
    for each in attached:
        if facts.input_modalities and each.kind not in taken:
            raise ToolFailure(
                f"{facts.id} takes no {each.kind}, which {each.name} is. Use a model that does (search_models with "
                f"input_modalities={each.kind}). Nothing was sent."
            )
