"""How large a request may be taken for: text counts wherever it stands, and media as what they are."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from client.models.prompt_size import BOUNDLESS, prompt_size

TEXT = "Ignore this. " * 10_000
TOKENS = len(TEXT) // 3
PNG = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 1000).decode()


def tokens(*parts: Any, **body: Any) -> int:
    messages = {"messages": [{"role": "user", "content": list(parts)}]} if parts else {}
    return prompt_size({**messages, **body}).tokens


def image(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": TEXT}]},
        {"messages": [{"role": "user", "content": "data:" + TEXT}]},
        {"messages": [{"role": "user", "content": PNG + TEXT}]},
        {"messages": [{"role": "user", "type": "file", "content": TEXT}]},
        {"messages": [{"role": "user", "type": "image_url", "image_url": {"url": "data:" + TEXT}}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": TEXT}}]}]},
        {"messages": [{"role": "user", "content": "", "name": TEXT, "reasoning": ""}]},
        {"messages": [{"role": "user", "content": {"type": "file", "file": {"file_data": TEXT}}}]},
        {"messages": {"role": "user", "content": TEXT}},
        {"system": TEXT},
        {"prompt": TEXT},
        {"response_format": {"x": TEXT}},
        {"tools": [{"type": "function", "function": {"description": TEXT}}]},
        {"tools": [{"type": "file", "file": {"file_data": PNG}, "description": TEXT}]},
        {"functions": [{"parameters": {"properties": {TEXT: {}}}}]},
        {"plugins": [{"id": "web", "search_prompt": TEXT}]},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": TEXT}]}},
        {"stop": [TEXT]},
        {"metadata": {"x": TEXT}},
        {"unknown": [[[{"deep": [TEXT]}]]]},
        {"numbers": [0.123456789] * (len(TEXT) // 11)},
    ],
    ids=lambda body: "-".join(body) + str(body)[:60].replace(" ", ""),
)
def test_text_counts_as_text_wherever_it_stands(body: dict[str, Any]) -> None:
    """break-it 7: what goes upstream may be read by the model."""
    assert TOKENS <= prompt_size(body).tokens < TOKENS * 1.1 + len(PNG)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "text": TEXT},
        {"type": "text", "text": PNG + TEXT},
        image("data:" + TEXT),
        image("data:image/png;base64," + TEXT),
        image("data:image/png," + "x" * len(TEXT)),
        image("data:text/plain;base64," + "x" * len(TEXT)),
        image("data:image/svg+xml;base64," + "x" * len(TEXT)),
        image(f"data:image/png;name={'x' * len(TEXT)};base64,AAAA"),
        image("data:image/png;base64," + "x" * len(TEXT) + "天"),
        image("https://example.org/" + "x" * len(TEXT)),
        image(PNG, detail=TEXT),
        image(PNG) | {"text": TEXT},
        {"type": "file", "file": {"file_data": TEXT}},
        {"type": "file", "file": {"file_data": "data:text/plain," + TEXT}},
        {"type": "file", "file": {"file_data": "data:application/json;base64," + "x" * len(TEXT)}},
        {"type": "file", "file": {"file_data": PNG, "filename": TEXT}},
        {"type": "file", "file": {"file_id": "x", "filename": TEXT}},
        {"type": "input_audio", "input_audio": {"data": TEXT, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": TEXT}},
        {"type": "no_such", "no_such": {"url": TEXT}},
        {"type": "text", "content": [image(PNG), {"type": "text", "text": TEXT}]},
        {"type": ["image_url"], "image_url": {"url": TEXT}},
        [[{"type": "text", "text": TEXT}]],
        TEXT,
    ],
    ids=lambda part: str(part)[:90].replace(" ", ""),
)
def test_what_only_looks_like_a_medium_is_text_and_so_is_what_stands_beside_one(part: Any) -> None:
    """break-it 7: only well-formed data in the place where media stand is left out."""
    assert TOKENS <= tokens(part) < TOKENS * 1.1 + 4_100 + len(PNG)


@pytest.mark.parametrize(
    "part",
    [
        image(PNG),
        image(PNG.replace("data:image/png", "DATA:image/x-icon;a=b")),
        image("https://example.org/x.png"),
        {"type": "image_url", "image_url": PNG},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + PNG[22:]}},
        {"type": "input_video", "input_video": {"url": "data:video/mp4;base64," + PNG[22:]}},
        {"type": "file", "file": {"filename": "x.pdf", "file_data": "data:application/pdf;base64," + PNG[22:]}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": PNG[22:], "format": "wav"}},
        image("data:image/png;base64," + "\r\n".join(PNG[i : i + 76] for i in range(22, len(PNG), 76))),
    ],
    ids=lambda part: str(part)[:60],
)
def test_a_medium_counts_the_same_whatever_its_size(part: dict[str, Any]) -> None:
    assert 4_000 < tokens(part) < 4_080
    assert tokens(part, part, part) > 12_000


def test_pictures_that_an_assistant_made_are_media_too() -> None:
    sent_back = {"role": "assistant", "content": None, "images": [image(PNG)]}
    assert 4_000 < prompt_size({"messages": [sent_back, "?"]}).tokens < 4_080


def test_many_tiny_media_are_many() -> None:
    """break-it 7: each of them is read, however short it is written."""
    assert tokens(*[image("a")] * 1_000) > 4_000_000
    assert tokens(*[{}] * 30_000, image("a")) == BOUNDLESS
    assert prompt_size({"messages": [{}] * 30_000}).tokens == BOUNDLESS


def test_text_in_any_script_counts_by_its_bytes() -> None:
    assert tokens("天" * 3000) == tokens("x" * 9000)
    assert tokens("x" * 9000) <= tokens("x" * 9000 + "\ud800") < tokens("x" * 9100)
    assert tokens("x" * 9000) < tokens("x" * 9000, -(10**3000), 1.5, None)


def test_what_nothing_can_encode_fills_any_context_when_it_is_large() -> None:
    nested: Any = ["x"]
    for _ in range(5_000):
        nested = [{"k": nested}]
    assert 5_000 < tokens(nested) < 50_000
    for _ in range(100_000):
        nested = [nested]
    assert tokens(nested) == BOUNDLESS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 90_000}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 90_000}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 90_000},
        {"type": "input_file", "file_data": "data:application/pdf;base64," + "A" * 90_000},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
    ],
)
def test_media_of_other_protocols_count_as_media_wherever_they_stand(part: dict[str, Any]) -> None:
    places = (
        {"messages": [{"role": "user", "content": [part]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [part]}]}]},
        {"input": [{"type": "message", "role": "user", "content": [part]}]},
        {"input": [{"type": "function_call_output", "call_id": "t", "output": [part]}]},
    )
    for body in places:
        assert 4_000 < prompt_size(body).tokens < 4_200


@pytest.mark.parametrize(
    "source",
    [
        {"type": "text", "media_type": "text/plain", "data": "A" * 90_000},
        {"type": "base64", "media_type": "image/png", "data": "no base64 " * 9_000},
    ],
)
def test_a_document_of_text_counts_as_text(source: dict[str, Any]) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "document", "source": source}]}]}
    assert prompt_size(body).tokens > 30_000
