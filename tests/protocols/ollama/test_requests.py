"""Ollama's requests, and what upstream is asked; its models; and refusals in its words."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from client.sandbox import Reply, Sandbox
from client.upstream.request import InvalidRequest
from server.config import Config
from server.protocols.ollama.messages import messages_of
from server.protocols.ollama.request import OllamaRequest, chat_call_of, generate_call_of
from tests.support.chunks import END, STOP, text
from tests.support.ollama_lines import ASKED, ask, lines_in
from tests.support.serving import Api, serving, with_tokens
from tests.support.ui_parts import parts_in, posting

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()


def _url(picture: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": picture}}


def test_pictures_are_told_by_their_first_bytes() -> None:
    images = [PNG, JPEG, "data:image/gif;base64,AA", "https://a.example/b.png", "%%%", "", 5]
    (message,) = messages_of([{"role": "user", "content": "Look", "images": images}])
    assert message["content"] == [
        {"type": "text", "text": "Look"},
        _url(f"data:image/png;base64,{PNG}"),
        _url(f"data:image/jpeg;base64,{JPEG}"),
        _url("data:image/gif;base64,AA"),
        _url("https://a.example/b.png"),
        _url("data:image/png;base64,%%%"),
    ]
    assert messages_of([{"role": "user", "images": [PNG]}])[0]["content"] == [_url(f"data:image/png;base64,{PNG}")]


def _calling(*functions: tuple[str, Any], **more: Any) -> dict[str, Any]:
    listed = [{"function": {"name": name, "arguments": arguments}} for name, arguments in functions]
    return {"role": "assistant", "content": "", "tool_calls": listed, **more}


def _result(content: str, **more: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


def test_results_find_their_calls_by_name_and_order() -> None:
    called = _calling(("tide", {"port": "a"}), ("wind", '{"at":1}'), ("tide", {"port": "b"}), thinking="hm")
    results = [_result("calm", tool_name="wind"), _result("a", tool_name="tide"), _result("b"), _result("?")]
    history = [called, *results, _calling(("tide", None)), _result("c", name="tide")]
    told = messages_of(history)
    assert told[0] == {
        "role": "assistant",
        "content": None,
        "reasoning": "hm",
        "tool_calls": [
            {"id": "call_0_0", "type": "function", "function": {"name": "tide", "arguments": '{"port":"a"}'}},
            {"id": "call_0_1", "type": "function", "function": {"name": "wind", "arguments": '{"at":1}'}},
            {"id": "call_0_2", "type": "function", "function": {"name": "tide", "arguments": '{"port":"b"}'}},
        ],
    }
    assert [each["tool_call_id"] for each in told if each["role"] == "tool"] == [
        "call_0_1",
        "call_0_0",
        "call_0_2",
        "call_4",
        "call_5_0",
    ]
    assert told[5]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_ids_that_a_client_has_are_kept() -> None:
    called = _calling()
    called["tool_calls"] = [{"id": name, "function": {"name": "f", "arguments": {}}} for name in ("x", "y")]
    first, *results = messages_of([called, _result("1", tool_call_id="y"), _result("2", tool_call_id="x")])
    assert [each["id"] for each in first["tool_calls"]] == ["x", "y"]
    assert [each["tool_call_id"] for each in results] == ["y", "x"]


def _body(**more: Any) -> dict[str, Any]:
    call = chat_call_of({**ASKED, **more}, model="acme/m", max_grace_s=60)
    assert call.asked == OllamaRequest("acme/m")
    return {name: value for name, value in call.body.items() if name not in ("messages", "model", "stream")}


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({}, {}),
        ({"tools": []}, {}),
        ({"keep_alive": "5m", "options": None, "think": None, "format": ""}, {}),
        (
            {"options": {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 7, "stop": ["x"]}},
            {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 7, "stop": ["x"]},
        ),
        (
            {"options": {"frequency_penalty": 1, "presence_penalty": 2, "repeat_penalty": 1.1, "num_predict": 9}},
            {"frequency_penalty": 1, "presence_penalty": 2, "repetition_penalty": 1.1, "max_tokens": 9},
        ),
        ({"options": {"num_predict": -1, "num_ctx": 8, "num_gpu": 1, "mirostat": 2, "temperature": None}}, {}),
        ({"options": {"num_predict": -2}}, {}),
        ({"think": True}, {"reasoning": {"enabled": True}}),
        ({"think": False}, {"reasoning": {"enabled": False}}),
        ({"think": "high"}, {"reasoning": {"effort": "high"}}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        (
            {"format": {"type": "object"}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
        ),
        ({"tools": [{"type": "function"}], "provider": {"sort": "price"}}, None),
    ],
)
def test_fields_in_openrouters_words(more: dict[str, Any], sent: dict[str, Any] | None) -> None:
    assert _body(**more) == (more if sent is None else sent)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"messages": "x"}, "messages"),
        ({"stream": 1}, "stream"),
        ({"options": []}, "options"),
        ({"think": 5}, "think"),
        ({"format": "xml"}, "format"),
        ({"grace_s": 61}, "grace_s"),
    ],
)
def test_what_cannot_be_asked(more: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_call_of({**ASKED, **more}, model="acme/m", max_grace_s=60)
    assert [each.where for each in caught.value.details] == [where]


def test_a_text_with_a_gap_cannot_be_asked_for() -> None:
    with pytest.raises(InvalidRequest, match="suffix"):
        generate_call_of({"prompt": "a", "suffix": "b"}, model="acme/m", max_grace_s=60)


async def test_names_with_and_without_latest(api: Api, upstream: Sandbox) -> None:
    """The reply calls the model as it was asked for."""
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    for name, meant in (
        ("sandbox/echo:latest", "sandbox/echo"),
        ("acme/x:free", "acme/x:free"),
        ("acme/x:latest", "acme/x"),
    ):
        _, body = await ask(api, model=name)
        assert {line["model"] for line in lines_in(body)} == {name}
        assert upstream.calls[-1].json["model"] == meant


async def test_a_body_that_nobody_called_json(api: Api, upstream: Sandbox) -> None:
    """As curl sends it, which Ollama's documentation shows."""
    upstream.script_always(Reply.stream(text("Hi"), STOP, END))
    sent = json.dumps(ASKED).encode()
    for kind, status in (
        ("application/x-www-form-urlencoded", 200),
        ("application/octet-stream", 200),
        ("application/json", 200),
        ("text/xml", 415),
    ):
        response, body = await api.request("POST", "/api/chat", sent, Content_Type=kind)
        assert response.status == status
        assert ("error" in json.loads(body.split(b"\n")[0])) == (status != 200)


async def test_trap_16_two_protocols_at_one_path(api: Api, upstream: Sandbox) -> None:
    upstream.script(*[Reply.stream(text("Hi"), STOP, END)] * 2, *[Reply.error(402, "No credit")] * 2)
    ours, theirs = posting(), ASKED
    async with api.http.post(f"{api.url}/api/chat", json=ours) as response:
        parts_in(await response.read())
    async with api.http.post(f"{api.url}/api/chat", json=theirs) as response:
        lines_in(await response.read())
    async with api.http.post(f"{api.url}/api/chat", json=ours) as response:
        assert (response.status, response.content_type) == (402, "text/plain")
    async with api.http.post(f"{api.url}/api/chat", json=theirs) as response:
        assert (response.status, response.content_type) == (402, "application/json")
        assert "No credit" in (await response.json())["error"]


async def test_refusals_are_in_ollamas_words_but_below_api_v1(config: Config, upstream: Sandbox) -> None:
    upstream.script_always(Reply.error(402, "No credit"))
    token = {"Authorization": "Bearer " + "one" * 11}
    async with serving(with_tokens(config, "one" * 11)) as api:
        for path, sent, headers, status in (
            ("/api/chat", ASKED, {}, 401),
            ("/api/chat", ASKED, token, 402),
            ("/api/generate", {"model": "m", "prompt": "x"}, token, 402),
            ("/api/chat", {**ASKED, "think": 5}, token, 400),
            ("/api/chat", {"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}, token, 413),
            ("/api/pull", {"model": "m"}, token, 404),
            ("/api/embed", {"model": "m"}, token, 404),
            ("/api/version", {}, token, 405),
            ("/api/show", {"model": "no/such"}, token, 404),
            ("/api/show", {}, token, 400),
        ):
            async with api.http.post(api.url + path, json=sent, headers=headers) as response:
                found = await response.json()
            assert (path, response.status) == (path, status)
            assert found.keys() == {"error", "type"}
            assert type(found["error"]) is str
        async with api.http.get(f"{api.url}/api/v1/nothing", headers=token) as response:
            assert (await response.json())["error"]["code"] == 404


async def test_models(api: Api) -> None:
    _, body = await api.request("GET", "/api/tags")
    listed = {each["name"]: each for each in json.loads(body)["models"]}
    assert listed["sandbox/reasoner"] == {
        "name": "sandbox/reasoner",
        "model": "sandbox/reasoner",
        "modified_at": "2026-01-03T00:00:00Z",
        "size": 0,
        "digest": listed["sandbox/reasoner"]["digest"],
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "sandbox",
            "families": ["sandbox"],
            "parameter_size": "",
            "quantization_level": "",
        },
    }
    assert all(len(bytes.fromhex(each["digest"])) == 32 for each in listed.values())
    for name, capabilities in (
        ("sandbox/reasoner", ["completion", "thinking"]),
        ("sandbox/tools:latest", ["completion", "tools"]),
    ):
        _, body = await api.request("POST", "/api/show", json.dumps({"model": name}).encode())
        shown = json.loads(body)
        assert shown["capabilities"] == capabilities
        assert shown["model_info"]["sandbox.context_length"] > 0
        assert shown["details"]["family"] == shown["model_info"]["general.architecture"] == "sandbox"
    assert json.loads((await api.request("GET", "/api/version"))[1]).keys() == {"version"}
    assert json.loads((await api.request("GET", "/api/ps"))[1]) == {"models": []}


async def test_models_are_those_that_the_caller_may_use(config: Config) -> None:
    config = with_tokens(config, "one" * 11)
    (caller,) = config.callers
    limited = config.model_copy(
        update={"callers": (type(caller)(caller.name, caller.token_sha256, models=("*/echo",)),)}
    )
    token = {"Authorization": "Bearer " + "one" * 11}
    async with serving(limited) as api:
        _, body = await api.request("GET", "/api/tags", **token)
        assert [each["name"] for each in json.loads(body)["models"]] == ["sandbox/echo"]
        refused, _ = await api.request("POST", "/api/show", b'{"model":"sandbox/tools"}', **token)
        assert refused.status == 403


async def test_who_asks_for_no_page_is_greeted(api: Api) -> None:
    for method, accept, kind in (
        ("GET", "*/*", "text/plain"),
        ("HEAD", "application/json", "text/plain"),
        ("GET", "text/html,*/*;q=0.8", "text/html"),
    ):
        response, body = await api.request(method, "/", Accept=accept)
        assert (response.status, response.content_type, response.headers["Vary"]) == (200, kind, "Accept")
        assert (body == b"Ollama is running") == (method == "GET" and kind == "text/plain")
