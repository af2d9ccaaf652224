"""Answers that go into files, once they are whole."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from mcp_app.chats.attaching import ONLY_LOCAL
from mcp_app.files.folders import FileRefused, Folders
from mcp_app.files.saving import Content, Saved, Target, save, target_of
from mcp_app.results.clean import clean_json
from mcp_app.results.expected import Read
from mcp_app.results.failures import ToolFailure
from mcp_app.results.output import SavedAnswer, SavedFile
from mcp_app.results.pictures import Encoded, read_picture

_NAME_CHARS = 8
"""Of a stream's id, in a file's name."""


async def find_target(folders: Folders | None, save_to: str, *, overwrite: bool, is_one: bool) -> Target | None:
    """Where the answer goes; None where nobody wants it saved.

    Raises:
        ToolFailure: nothing can be written there.
    """
    if not save_to.strip():
        return None
    if folders is None:
        raise ToolFailure(f"{ONLY_LOCAL} Nothing was done.")
    try:
        return await asyncio.to_thread(target_of, folders, save_to, overwrite=overwrite, is_one=is_one)
    except FileRefused as exc:
        raise ToolFailure(f"save_to: {exc} Nothing was done.") from exc


async def keep_answer(target: Target, stream_id: str, result: Mapping[str, Any], read: Read | None) -> SavedAnswer:
    """Writes an answer's text and pictures, on a thread. What cannot be written is told, and given as it always is.

    Args:
        result: the whole answer.
        read: its value, where it was to be JSON.
    """
    text = clean_json(result["content"] or "")
    contents: list[Content] = [Content(_text_bytes(target, text, read))] if text else []
    numbers: list[int | None] = [None] * len(contents)
    for number, image in enumerate(result["images"]):
        picture = read_picture(image)
        if isinstance(picture, Encoded) and picture.mime_type is not None:
            contents.append(Content(base64.b64decode(picture.data), picture.mime_type))
            numbers.append(number)
    name = f"answer-{stream_id[:_NAME_CHARS]}"
    try:
        files = await asyncio.to_thread(save, target, contents, name=name)
    except FileRefused as exc:
        return SavedAnswer(problem=f"The answer could not be saved: {exc}")
    by_number = {numbers[place]: _told(saved) for place, saved in files.items()}
    problem = None if files else f"Nothing was saved: the answer holds nothing for {target.place.path}."
    pictures = {number: file for number, file in by_number.items() if number is not None}
    return SavedAnswer(by_number.get(None), pictures, problem)


def _text_bytes(target: Target, text: str, read: Read | None) -> bytes:
    """The text as it came; in a file of JSON, without what stands around the value."""
    is_json = not target.is_folder and target.place.parts[-1].lower().endswith(".json")
    if is_json and read is not None and read.problem is None:
        return (json.dumps(read.value, ensure_ascii=False, indent=2) + "\n").encode()
    return (text if text.endswith("\n") else f"{text}\n").encode()


def _told(saved: Saved) -> SavedFile:
    return SavedFile(saved.path, saved.mime_type, saved.bytes)
