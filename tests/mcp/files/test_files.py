"""Files in and results out, as a host's model asks for them."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.client.stdio import stdio_client
from mcp.types import ListRootsResult, Root

from client.sandbox import Hold, Sandbox, chunk
from mcp_app.chats.chat import chat
from mcp_app.chats.request import ChatArguments
from mcp_app.files.folders import Folders
from tests.mcp.test_stdio import COMMAND, environment
from tests.mcp.test_tools import PIXEL
from tests.support.mcp.clients import ERAS, Era, answer, call, data_of, in_memory, open_state, text_of

PNG = base64.b64decode(PIXEL)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
FILES = {
    "a.txt": b"hello \xc3\xb6",
    "pic.dat": PNG,
    "doc.pdf": b"%PDF-1.7 x",
    "sound.wav": WAV,
    "utf16.txt": "wide".encode("utf-16"),
    "western.txt": "Grüße".encode("cp1252"),
    "broken.bin": b"\x00\x01\x02",
    "cut.bin": b"\xff\x01\x02",
}


def picture_reply(*urls: str, text: str = "") -> Any:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return answer(*([text] if text else []), ahead=(chunk({"images": images}),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files in it."""
    for name, data in FILES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


# -- in -----------------------------------------------------------------------------------------------------------


async def test_files_go_along_as_what_they_are(upstream: Sandbox, folder: Path) -> None:
    """G1."""
    files = ["a.txt", str(folder / "pic.dat"), "doc.pdf", "sound.wav", "utf16.txt", "western.txt"]
    arguments = {"prompt": "look", "model": "acme/unknown", "files": files}
    upstream.script(answer("seen"))
    result = await call(upstream, "llm_chat", arguments, folders=(str(folder),))
    assert data_of(result)["text"] == "seen"
    [message] = upstream.calls[0].json["messages"]
    assert message["content"] == [
        {"type": "text", "text": '<file name="a.txt">\nhello ö\n</file>'},
        {"type": "text", "text": '<file name="utf16.txt">\nwide\n</file>'},
        {"type": "text", "text": '<file name="western.txt">\nGrüße\n</file>'},
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {
            "type": "file",
            "file": {
                "filename": "doc.pdf",
                "file_data": "data:application/pdf;base64," + base64.b64encode(FILES["doc.pdf"]).decode(),
            },
        },
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}},
    ]
    assert str(folder) not in json.dumps(upstream.calls[0].json)


async def test_they_belong_to_the_last_message_of_the_user(upstream: Sandbox, folder: Path) -> None:
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    await call(upstream, "llm_chat", {"messages": turns, "files": "a.txt"}, folders=(str(folder),))
    sent = upstream.calls[0].json["messages"]
    assert [part["text"] for part in sent[0]["content"]] == ['<file name="a.txt">\nhello ö\n</file>', "one"]
    assert sent[1] == turns[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"files": ["/etc/passwd"]}, "outside the folders"),
        ({"files": ["../x"]}, "outside the folders"),
        ({"files": ["nothing"]}, "not there"),
        ({"files": ["broken.bin"]}, "Convert it first"),
        ({"files": ["cut.bin"]}, "Convert it first"),
        ({"files": ["a.txt"] * 21}, "at most 20"),
        ({"files": ["pic.dat"], "model": "sandbox/reasoner"}, "takes no image"),
        ({"save_to": "a.txt"}, "there already"),
        ({"save_to": "/etc/x"}, "outside the folders"),
        ({"save_to": "new/"}, "Make the folder"),
        ({"save_to": "new/x.txt"}, "No such file"),
        ({"save_to": ".bashrc"}, "begins with a dot"),
    ],
)
async def test_what_may_not_be_is_told_before_anything_is_sent(
    upstream: Sandbox, folder: Path, more: dict[str, Any], said: str
) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "x", **more}, folders=(str(folder),))
    assert result.is_error
    assert said in text_of(result)
    assert not upstream.calls


async def test_all_files_together_are_bounded(upstream: Sandbox, folder: Path) -> None:
    (folder / "big.png").write_bytes(PNG + bytes(11 * 2**20))
    (folder / "big.txt").write_bytes(b"x" * (5 * 2**20))
    for files in (["big.png", "big.png"], ["big.txt"]):
        result = await call(upstream, "llm_chat", {"prompt": "x", "files": files}, folders=(str(folder),))
        assert "too large" in text_of(result)
    assert not upstream.calls


@pytest.mark.parametrize("folders", [None, ()])
@pytest.mark.parametrize("more", [{"files": ["a.txt"]}, {"save_to": "b.txt"}])
async def test_without_folders_and_over_http_nothing_is_touched(
    upstream: Sandbox, folder: Path, folders: Any, more: dict[str, Any]
) -> None:
    result = await call(upstream, "llm_chat", {"prompt": "x", **more}, folders=folders)
    assert result.is_error
    assert ("openrouter-mcp" if folders is None else "MCP_FOLDERS") in text_of(result)
    assert not upstream.calls


async def test_roots_of_the_host_count_as_folders_and_settings_do(upstream: Sandbox, folder: Path) -> None:
    root = folder / "work ö"
    root.mkdir()
    (root / "in.txt").write_text("from a root")

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=root.as_uri())])

    upstream.script(answer("one"), answer("two"))
    env = environment(upstream, MCP_FOLDERS=f"{folder},/nothing")
    parameters = StdioServerParameters(command=COMMAND[0], args=list(COMMAND[1:]), env=env, cwd="/")
    async with asyncio.timeout(60):
        async with Client(stdio_client(parameters), mode="legacy", list_roots_callback=roots) as client:
            arguments = {"prompt": "x", "model": "acme/m", "files": [str(root / "in.txt")], "save_to": str(folder)}
            result = await client.call_tool("llm_chat", arguments)
            assert not result.is_error, text_of(result)
    assert "from a root" in json.dumps(upstream.calls[0].json)
    [saved] = data_of(result)["saved"]
    assert Path(saved["path"]).parent == folder


# -- out ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_a_picture_becomes_a_file_and_the_result_names_it(upstream: Sandbox, folder: Path, era: Era) -> None:
    """G2."""
    upstream.script(picture_reply(f"data:image/jpeg;base64,{PIXEL}", text="Here."))
    async with asyncio.timeout(30), in_memory(upstream, era, folders=(str(folder),)) as client:
        arguments = {"prompt": "draw", "model": "acme/m", "save_to": str(folder / "cat.jpg")}
        result = await client.call_tool("llm_chat", arguments)
    saved = {"path": str(folder / "cat.png"), "mime_type": "image/png", "bytes": len(PNG)}
    assert data_of(result)["saved"] == [saved]
    assert (folder / "cat.png").read_bytes() == PNG
    assert [block.type for block in result.content if block.type != "text"] == []
    assert f"Saved as {folder / 'cat.png'} (image/png, {len(PNG)} bytes)" in text_of(result)
    assert data_of(result)["text"] == "Here."
    assert data_of(result)["cost_usd"] == 0.25


async def test_several_pictures_and_names_that_are_taken_get_numbers(upstream: Sandbox, folder: Path) -> None:
    urls = [f"data:image/png;base64,{PIXEL}"] * 3
    for _ in range(2):
        upstream.script(picture_reply(*urls))
        arguments = {"prompt": "draw", "model": "acme/m", "save_to": "cat.png", "overwrite": True}
        result = await call(upstream, "llm_chat", arguments, folders=(str(folder),))
        names = [Path(each["path"]).name for each in data_of(result)["saved"]]
        assert names == ["cat.png", "cat-2.png", "cat-3.png"]


async def test_a_long_answer_becomes_a_file_and_only_its_beginning_is_given(upstream: Sandbox, folder: Path) -> None:
    """G2."""
    upstream.script(answer("ä" * 50_000))
    arguments = {"prompt": "write", "model": "acme/m", "save_to": str(folder / "long.md")}
    result = await call(upstream, "llm_chat", arguments, folders=(str(folder),))
    assert (folder / "long.md").read_text() == "ä" * 50_000 + "\n"
    data = data_of(result)
    assert data["saved"][0]["bytes"] == 100_001
    assert len(data["text"]) == 500
    assert "next_offset" not in data
    assert len(text_of(result).encode()) < 2000


async def test_one_that_takes_long_is_saved_when_its_end_is_fetched_and_once(upstream: Sandbox, folder: Path) -> None:
    go_on = asyncio.Event()
    upstream.script(answer(" rest", ahead=(chunk({"content": "half"}), Hold(go_on))))
    async with asyncio.timeout(30), in_memory(upstream, folders=(str(folder),)) as client:
        arguments = {"prompt": "x", "model": "acme/m", "save_to": "slow.txt", "wait_s": 0.3}
        first = await client.call_tool("llm_chat", arguments)
        assert data_of(first)["status"] == "running"
        assert not (folder / "slow.txt").exists()
        go_on.set()
        ask = {"stream_id": data_of(first)["stream_id"]}
        second = await client.call_tool("llm_chat_result", ask)
        third = await client.call_tool("llm_chat_result", ask)
    assert (folder / "slow.txt").read_text() == "half rest\n"
    assert data_of(second)["saved"] == data_of(third)["saved"]
    assert len(data_of(third)["saved"]) == 1


async def test_one_that_nobody_fetches_is_saved_all_the_same(upstream: Sandbox, folder: Path) -> None:
    go_on = asyncio.Event()
    upstream.script(answer(" rest", ahead=(chunk({"content": "half"}), Hold(go_on))))
    async with asyncio.timeout(30), open_state(upstream, folders=(str(folder),)) as state:
        arguments = ChatArguments(prompt="x", model="acme/m", save_to=str(folder / "slow.txt"))
        listed = Folders([str(folder)])
        output = await chat(state, arguments, owner="local", wait_s=0.2, folders=listed)
        assert output.data["status"] == "running"
        go_on.set()
        await asyncio.wait(state.background)
    assert (folder / "slow.txt").read_text() == "half rest\n"


async def test_each_of_several_models_gets_a_file(upstream: Sandbox, folder: Path) -> None:
    upstream.script(answer("A"), answer("B"))
    arguments = {"prompt": "x", "models": ["acme/a", "acme/b:free"], "save_to": "out.md"}
    result = await call(upstream, "llm_chat", arguments, folders=(str(folder),))
    names = [Path(each["saved"][0]["path"]).name for each in data_of(result)["answers"]]
    assert names == ["out-acme-a.md", "out-acme-b-free.md"]
    assert {(folder / name).read_text() for name in names} == {"A\n", "B\n"}


async def test_an_answer_that_cannot_be_saved_is_given_as_it_always_is(upstream: Sandbox, folder: Path) -> None:
    upstream.script(answer("no picture"))
    arguments = {"prompt": "draw", "model": "acme/m", "save_to": "cat.png"}
    result = await call(upstream, "llm_chat", arguments, folders=(str(folder),))
    assert data_of(result)["text"] == "no picture"
    assert "Nothing was saved" in text_of(result)
    assert "saved" not in data_of(result)


async def test_a_file_of_json_holds_the_value_alone(upstream: Sandbox, folder: Path) -> None:
    upstream.script(answer('```json\n{"a": "ö"}\n```'))
    options = {"response_format": {"type": "json_object"}}
    arguments = {"prompt": "x", "model": "acme/m", "save_to": "value.json", "options": options}
    await call(upstream, "llm_chat", arguments, folders=(str(folder),))
    assert json.loads((folder / "value.json").read_text()) == {"a": "ö"}
