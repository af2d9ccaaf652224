"""Other gateways beside this project's server, each with one worker on one core and as quiet as it can be made.

None of them is a dependency: each is looked for where it was installed for the benchmark.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from tests.bench.processes import start
from tests.bench.servers import KEY, OPENAI_PATH, Launch, NotInstalled, Place, Server, clean_env, launch_server
from tests.support.ports import free_port

_LITELLM_CONF = """\
model_list:
  - model_name: bench-model
    litellm_params: {{model: openrouter/bench-model, api_base: "{upstream_url}", api_key: {key}}}
litellm_settings: {{set_verbose: false, json_logs: false, telemetry: false, request_timeout: 600}}
general_settings: {{disable_spend_logs: true, disable_error_logs: true}}
"""
_TENSORZERO_CONF = """\
[gateway]
observability.enabled = false
[models."bench-model"]
routing = ["up"]
[models."bench-model".providers.up]
type = "openai"
model_name = "bench-model"
api_base = "{upstream_url}"
"""
_START_TENSORZERO = """\
import os, time, openai, tensorzero
client = tensorzero.patch_openai_client(openai.OpenAI(), config_file="tensorzero.toml", async_setup=False)
with open("port.new", "w") as file:
    file.write(f"{client.base_url.port} {client.base_url.path}")
os.rename("port.new", "port")
while True:
    time.sleep(60)
"""
"""The gateway is part of the Python package, and takes a port of its own choice."""
_START_S = 60.0


def litellm(environment: Path) -> Launch:
    """LiteLLM's proxy from a virtual environment: one worker, no database, quiet."""
    program = environment / "bin" / "litellm"
    if not program.exists():
        raise NotInstalled(f"{program} is missing: install litellm[proxy] into that virtual environment")

    def launch(place: Place) -> Server:
        port = free_port()
        conf = place.folder / "litellm.yaml"
        conf.write_text(_LITELLM_CONF.format(upstream_url=place.upstream_url, key=KEY))
        env = clean_env(
            place,
            LITELLM_LOG="ERROR",
            LITELLM_MODE="PRODUCTION",
            LITELLM_LOCAL_MODEL_COST_MAP="True",
            LITELLM_TELEMETRY="False",
            LITELLM_MASTER_KEY=KEY,
        )
        command = [str(program), "--config", str(conf), "--host", "127.0.0.1", "--port", str(port)]
        headers = {"Authorization": f"Bearer {KEY}"}
        server = Server("litellm", port, OPENAI_PATH, "openai", headers)
        return launch_server(
            server, [*command, "--num_workers", "1"], place, "/health/liveliness", env, timeout_s=180
        )

    return launch


def tensorzero(environment: Path) -> Launch:
    """TensorZero's gateway, which is written in Rust, from a virtual environment: it keeps no records."""
    program = environment / "bin" / "python"
    if not list((environment / "lib").glob("python*/site-packages/tensorzero")):
        raise NotInstalled(f"{environment} is missing: install tensorzero and openai into that virtual environment")

    def launch(place: Place) -> Server:
        (place.folder / "tensorzero.toml").write_text(_TENSORZERO_CONF.format(upstream_url=place.upstream_url))
        log, told = place.folder / "log.txt", place.folder / "port"
        env = clean_env(place, OPENAI_API_KEY=KEY)
        server = Server("tensorzero", 0, "", "openai", model="tensorzero::model_name::bench-model")
        began_s = time.monotonic()
        server.process = start(
            [str(program), "-c", _START_TENSORZERO], cores=place.cores, cwd=place.folder, log=log, env=env
        )
        while not told.exists():
            if server.process.poll() is not None or time.monotonic() > began_s + _START_S:
                server.stop()
                raise RuntimeError(f"TensorZero's gateway did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        server.start_s = time.monotonic() - began_s
        port, path = told.read_text().split()
        server.port, server.path = int(port), f"{path.rstrip('/')}/chat/completions"
        return server

    return launch


def portkey(folder: Path) -> Launch:
    """Portkey's gateway from a folder of npm, with its provider for OpenRouter."""
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    if node is None or not program.exists():
        raise NotInstalled(f"{program} is missing: install @portkey-ai/gateway into that folder, with Node")

    def launch(place: Place) -> Server:
        port = free_port()
        headers = {
            "x-portkey-provider": "openrouter",
            "x-portkey-custom-host": place.upstream_url,
            "Authorization": f"Bearer {KEY}",
        }
        env = clean_env(place, NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost")
        command = [node, str(program), f"--port={port}", "--headless"]
        return launch_server(Server("portkey", port, OPENAI_PATH, "openai", headers), command, place, "/", env)

    return launch
