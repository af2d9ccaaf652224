"""How the page and its files are served."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import aiohttp
import pytest

from server.config import Config
from server.page.files import FOLDER, FORMAT, read_files
from tests.support.process import ROOT
from tests.support.serving import Api, changed, serving, with_tokens

in_the_rooms_loop = pytest.mark.asyncio(loop_scope="session")


async def hash_of(api: Api) -> str:
    """The hash in the addresses of the page as it is now."""
    _, body = await api.request("GET", "/", Accept="text/html")
    found = re.search(r"assets/([0-9a-f]{16})/", body.decode())
    assert found is not None
    return found[1]


@in_the_rooms_loop
async def test_the_page_is_asked_for_again_and_its_files_are_kept_for_ever(api: Api) -> None:
    page, body = await api.request("GET", "/", Accept="text/html")
    assert page.content_type == "text/html"
    assert page.headers["Cache-Control"] == "no-cache"
    assert b"{assets}" not in body
    unchanged, _ = await api.request("GET", "/", Accept="text/html", If_None_Match=page.headers["ETag"])
    assert unchanged.status == 304
    path = f"/assets/{await hash_of(api)}/main.js"
    file, body = await api.request("GET", path)
    assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert file.content_type == "text/javascript"
    assert body == (FOLDER / "main.js").read_bytes()


@in_the_rooms_loop
async def test_under_an_old_hash_there_is_the_file_of_today_and_nobody_keeps_it(api: Api) -> None:
    file, _ = await api.request("GET", "/assets/0123456789abcdef/main.js")
    assert (file.status, file.headers["Cache-Control"]) == (200, "no-cache")


@in_the_rooms_loop
async def test_nothing_but_the_files_of_the_page_can_be_had(api: Api) -> None:
    for path in ("nothing.js", "../page/files.py", "%2e%2e/page/files.py", "..%2fpage%2ffiles.py", "/etc/passwd"):
        reply, _ = await api.request("GET", f"/assets/{await hash_of(api)}/{path}")
        assert reply.status == 404, path


@in_the_rooms_loop
async def test_the_policy_has_no_exceptions(api: Api) -> None:
    page, _ = await api.request("GET", "/", Accept="text/html")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert not re.search(r"unsafe|https?:|\*|nonce|sha256", policy)
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    elsewhere, _ = await api.request("GET", "/", Accept="text/html", Host="192.0.2.1:8000")
    assert "Cross-Origin-Opener-Policy" not in elsewhere.headers  # browsers complain of it there


@in_the_rooms_loop
async def test_files_go_out_packed_to_whoever_takes_that(api: Api) -> None:
    path = f"{api.url}/assets/{await hash_of(api)}/main.js"
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(path, headers={"Accept-Encoding": "gzip"}) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(await packed.read()) == (FOLDER / "main.js").read_bytes()
        async with http.get(path, headers={"Accept-Encoding": "identity"}) as plain:
            assert "Content-Encoding" not in plain.headers


@in_the_rooms_loop
async def test_the_client_is_the_one_that_is_published(api: Api) -> None:
    client, body = await api.request("GET", "/client.js")
    assert body == (ROOT / "sdk" / "javascript" / "client.js").read_bytes()
    unchanged, _ = await api.request("GET", "/client.js", If_None_Match=client.headers["ETag"])
    assert unchanged.status == 304


@in_the_rooms_loop
async def test_the_page_can_be_switched_off(config: Config) -> None:
    async with serving(changed(config, "page", enabled=False)) as api:
        for path in ("/", "/client.js", "/assets/format.json", "/favicon.ico"):
            reply, body = await api.request("GET", path, Accept="text/html")
            assert reply.status == 404
            assert b"There is nothing at" in body
    async with serving(with_tokens(changed(config, "page", enabled=False), "a-token")) as api:
        assert (await api.request("GET", "/", Accept="text/html"))[0].status == 401


def test_what_was_built_beside_the_running_server_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("{assets}")
    (tmp_path / "client.js").write_text("1")
    before = read_files(folder=tmp_path)
    assert read_files(before, tmp_path) is before
    assert not before.formats
    (tmp_path / FORMAT).parent.mkdir()
    (tmp_path / FORMAT).write_text("2")
    after = read_files(before, tmp_path)
    assert after.formats
    assert after.hash != before.hash
    (tmp_path / "client.js").write_text("3")
    os.utime(tmp_path / "client.js", ns=(1, 1))
    assert read_files(after, tmp_path).hash != after.hash
