"""The JavaScript client: in Node against the wire cases and a real server, in a browser, and as a package."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from client.sandbox import Hold, Mark, Reply, Sandbox
from client.streams.wire import EVENT_NAMES
from server.openapi.events import event_schema
from tests.mcp.test_node import MODULES, NODE, needed
from tests.support.browser import open_browser
from tests.support.chunks import text
from tests.support.process import ROOT, running_server
from tests.support.serving import Api

SDK = ROOT / "sdk" / "javascript"
TESTS = Path(__file__).parent / "javascript"
MOST_BYTES = 3 * 1024


RUNTIMES: dict[str, tuple[Path | str, ...]] = {
    "node": (NODE, "--test"),
    "deno": (MODULES / "deno" / "deno", "test", "--allow-all", "--no-check", "--no-config", "--no-lock"),
    "bun": (MODULES / "bun" / "bin" / "bun.exe", "test", "--timeout", "60000"),
}


async def node(*words: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    """What a program for Node prints; it must end well."""
    needed("typescript")
    return await run(NODE, *words, cwd=cwd, **environ)


async def run(*words: str | Path, cwd: Path = ROOT, **environ: str) -> str:
    """What a command prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words),
        cwd=cwd,
        env={
            "PATH": f"{NODE.parent}:{os.environ['PATH']}",
            "HOME": str(cwd),
            "NODE_COMPILE_CACHE": os.environ["NODE_COMPILE_CACHE"],
            **environ,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(90):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, printed.decode()[-6000:]
    return printed.decode()


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_it_makes_of_the_wire_cases_what_every_client_must(runtime: str, tmp_path: Path) -> None:
    """Bun reads the bytes only: the server that plays the chats is made for Node, and sends in Bun other pieces."""
    needed("typescript" if runtime == "node" else runtime)
    only = ("--test-name-pattern", "^decoding") if runtime == "bun" else ()
    await run(*RUNTIMES[runtime], *only, TESTS / "wire.test.mjs", HOME=str(tmp_path))


@pytest.mark.parametrize("runtime", RUNTIMES)
async def test_it_does_what_it_promises_against_a_real_server(runtime: str, tmp_path: Path) -> None:
    needed("typescript" if runtime == "node" else runtime)
    async with running_server("--sandbox", env={"MAX_STREAMS": "2000"}) as server:
        await run(*RUNTIMES[runtime], TESTS / "live.test.mjs", SERVER_URL=server.url, HOME=str(tmp_path))
        await server.wait_at_rest()


STOPS = """
import {Client} from "%s";
const chat = new Client({baseURL: process.argv[1]}).chat({message: "x"});
for await (const {type} of chat) {
  if (type !== "content") continue;
  console.log(Date.now());
  await chat.stop();
}
console.log(chat.finishReason);
"""


async def test_stop_closes_the_request_upstream(api: Api, upstream: Sandbox) -> None:
    begun = asyncio.Event()
    upstream.script(Reply.stream(text("Hel"), Mark(begun), Hold()))
    running = asyncio.create_task(node("--input-type=module", "-e", STOPS % (SDK / "client.js").as_uri(), api.url))
    async with asyncio.timeout(60):
        call = await upstream.wait_call()
        await call.closed.wait()
        closed_ms = time.time() * 1000
        stopped_ms, reason = (await running).split()
    assert call.cancelled
    assert reason == "cancelled"
    print(f"upstream was closed {closed_ms - int(stopped_ms):.0f} ms after stop()")


async def test_it_is_small_and_depends_on_nothing(tmp_path: Path) -> None:
    needed("esbuild")
    package = json.loads((SDK / "package.json").read_text())
    assert "dependencies" not in package
    assert "import " not in (SDK / "client.js").read_text().replace("import.meta", "")
    file = tmp_path / "client.min.js"
    command = [str(SDK / "client.js"), "--minify", "--format=esm", f"--outfile={file}"]
    process = await asyncio.create_subprocess_exec(MODULES / ".bin" / "esbuild", *command, stderr=-3)
    assert await process.wait() == 0
    size_bytes = len(gzip.compress(file.read_bytes(), 9))
    print(f"{size_bytes} bytes, minified and packed")
    assert size_bytes <= MOST_BYTES


USER = """
import {Client, type ChatEvent} from "openrouter-sse-client";
const client = new Client({token: async () => "t"});
const chat = client.chat({message: "x", temperature: 1}, {signal: AbortSignal.timeout(9)});
for await (const event of chat) {
  if (event.type === "content") event.data.text.trim();
  else if (event.type === "tool_call") event.data.complete satisfies boolean;
  else if (event.type === "error") event.data.retry_after_s satisfies number | undefined;
  // @ts-expect-error: a word that no event has
  else if (event.type === "contents") chat.stop();
}
export type Names = ChatEvent["type"];
await chat.stop();
"""


async def test_the_package_is_what_users_need(tmp_path: Path) -> None:
    """Packed as it would be published, put where npm puts it, and used with types and without."""
    needed("typescript")
    source = tmp_path / "source"
    shutil.copytree(SDK, source)
    tsc = MODULES / "typescript" / "bin" / "tsc"
    await node(tsc, "-p", source / "tsconfig.json")
    assert "All good" in await node(MODULES / "publint" / "src" / "cli.js", source, "--strict", "--pack", "false")
    listed = set(json.loads((source / "package.json").read_text())["files"])
    assert listed <= {path.name for path in source.iterdir()}
    needed("@arethetypeswrong/cli")
    packed = tmp_path / "packed.tgz"
    with tarfile.open(packed, "w:gz") as archive:
        for name in (*listed, "package.json", "README.md"):
            archive.add(source / name, f"package/{name}")
    attw = MODULES / "@arethetypeswrong" / "cli" / "dist" / "index.js"
    await node(attw, packed, "--profile", "esm-only", cwd=tmp_path)
    installed = tmp_path / "node_modules" / "openrouter-sse-client"
    installed.mkdir(parents=True)
    for name in (*listed, "package.json"):
        shutil.copy(source / name, installed)
    (tmp_path / "user.mts").write_text(USER)
    options = ["--strict", "--noEmit", "--target", "es2022", "--types", "", "--ignoreConfig"]
    for module in (["--module", "nodenext"], ["--module", "esnext", "--moduleResolution", "bundler"]):
        await node(tsc, *options, *module, "user.mts", cwd=tmp_path)
    told = await node(
        "--input-type=module", "-e", 'console.log(Object.keys(await import("openrouter-sse-client")))', cwd=tmp_path
    )
    assert "Client" in told


async def test_its_types_name_every_event_and_every_field(tmp_path: Path) -> None:
    """`events.d.ts` and `/schemas/events` say the same."""
    needed("typescript")
    samples = {name: _sample(event_schema(name)) for name in EVENT_NAMES}
    lines = [f"const {name}: EventData['{name}'] = {json.dumps(sample)};" for name, sample in samples.items()]
    required = [
        f"const {name}_{field}: undefined extends EventData['{name}']['{field}'] ? false : true = true;"
        for name in EVENT_NAMES
        for field in event_schema(name).get("required", [])
    ]
    names = "|".join(f"'{name}'" for name in EVENT_NAMES)
    same = f"const same: [keyof EventData, {names}] extends [{names}, keyof EventData] ? true : false = true;"
    file = tmp_path / "check.ts"
    file.write_text(
        "\n".join([f"import type {{EventData}} from '{SDK}/events.d.ts';", *lines, *required, same, "export {};"])
    )
    tsc = MODULES / "typescript" / "bin" / "tsc"
    await node(tsc, "--strict", "--noEmit", "--types", "", "--ignoreConfig", file, cwd=tmp_path)


def _sample(schema: dict[str, Any]) -> dict[str, Any]:
    by_type: dict[str, Any] = {"string": "x", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {})
    found = {}
    for name, field in properties.items():
        if "enum" in field:
            found[name] = field["enum"][0]
        elif "type" in field or "anyOf" in field:
            kinds = field.get("type") or next(b["type"] for b in field["anyOf"] if b.get("type") != "null")
            found[name] = by_type[kinds if isinstance(kinds, str) else kinds[0]]
    return found


@pytest.mark.parametrize("in_worker", [False, True], ids=["page", "worker"])
async def test_a_page_imports_it_from_the_server_and_reads_on_through_cuts(in_worker: bool) -> None:
    code = """
        const {Client} = await import(origin + "/client.js");
        const sandbox = {tokens: 60, tokens_per_s: 30};
        const chat = new Client().chat({message: "x", model: "sandbox/long", sandbox});
        for await (const {type} of chat) {
          if (type === "content" && chat.reconnects < 3 && chat.state === "open") chat.reconnect(5);
        }
        return [chat.content, chat.reconnects, chat.completed];
    """
    in_page = f"(async () => {{ const origin = location.origin; {code} }})()"
    worker = f"onmessage = async ({{data: origin}}) => postMessage(await (async () => {{ {code} }})())"
    asked = f"""new Promise((resolve) => {{
        const blob = new Blob([{json.dumps(worker)}], {{type: "text/javascript"}});
        const worker = new Worker(URL.createObjectURL(blob));
        worker.onmessage = ({{data}}) => resolve(data);
        worker.postMessage(location.origin);
    }})"""
    async with running_server("--sandbox") as server, open_browser() as browser:
        page = await browser.new_page()
        await page.goto(f"{server.url}/health")
        content, reconnects, completed = await page.evaluate(asked if in_worker else in_page)
        await server.wait_at_rest()
    assert content == "".join(f"{number} " for number in range(1, 61))
    assert reconnects >= 3
    assert completed is True
