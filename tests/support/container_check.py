"""Builds the image and runs it as docs/containers.md says; needs a Docker engine.

    python -m tests.support.container_check

Not a test, since few machines have an engine; `.ci/container` runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

from tests.support.process import ROOT

IMAGE = "openrouter-sse-check"
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=16m"]
TOKEN = "let-me-in"


def docker(*words: str, code: int = 0) -> str:
    """What the command prints, standard error included; it must end with the code."""
    run = subprocess.run(["docker", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == code, f"docker {' '.join(words)} ended with {run.returncode}:\n{run.stdout[-3000:]}"
    return run.stdout.strip()


def inspect(name: str, what: str) -> str:
    """A fact about a container or image, by a template of Go's."""
    return docker("inspect", "--format", what, name)


@contextmanager
def running(*options: str) -> Iterator[tuple[str, str]]:
    """A sandbox in a container that can be called: its id and its URL."""
    name = docker("run", "-d", "-p", "127.0.0.1::8000", *HARDENED, *options, IMAGE, "--sandbox").splitlines()[-1]
    try:
        url = f"http://127.0.0.1:{docker('port', name, '8000/tcp').rsplit(':', 1)[1]}"
        deadline_s = time.monotonic() + 30
        while status(f"{url}/health") != 200:
            assert time.monotonic() < deadline_s, docker("logs", name)
            time.sleep(0.1)
        yield name, url
    finally:
        docker("rm", "--force", "--volumes", name)


def status(url: str, **headers: str) -> int:
    """The status of a GET; 0 when nobody listens yet."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=named), timeout=10) as response:
            return int(response.status)
    except HTTPError as exc:
        return exc.code
    except (URLError, OSError):
        return 0


def check_a_stop_in_the_middle_of_an_answer() -> None:
    """bare 6: Docker's own 10 s are enough."""
    with running("-e", f"SERVER_TOKENS={TOKEN}") as (name, url):
        body = json.dumps({"message": "hi", "model": "sandbox/long"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/chat", body, headers), timeout=60) as response:
            response.readline()
            docker("stop", name)
            events = response.read().decode()
        assert '"type":"shutting_down"' in events, events[-1000:]
        assert "\nevent: done\n" in events[events.index("\nevent: error\n") :]
        assert inspect(name, "{{.State.ExitCode}}") == "0", docker("logs", name)


def check_the_gateway_is_the_proxy_that_the_guide_says() -> None:
    """bare 17: wrong tokens are counted by who the proxy says it is for."""
    with running("-e", f"SERVER_TOKENS={TOKEN}") as (name, _):
        gateway = inspect(name, "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
    with running("-e", f"SERVER_TOKENS={TOKEN}", "-e", f"TRUSTED_PROXIES={gateway}") as (_, url):
        by_one = [
            status(f"{url}/models", Authorization="Bearer wrong", X_Forwarded_For="203.0.113.9") for _ in range(12)
        ]
        assert by_one == [401] * 10 + [429] * 2
        assert status(f"{url}/models", Authorization="Bearer wrong", X_Forwarded_For="203.0.113.10") == 401
        assert status(f"{url}/models", Authorization=f"Bearer {TOKEN}", X_Forwarded_For="203.0.113.9") == 200


def check_rights_and_health() -> None:
    """The user, what it may do, what it can write, and the check of its health."""
    with running("-e", f"SERVER_TOKENS={TOKEN}") as (name, _):
        assert docker("exec", name, "id", "-u") == "10001"
        assert "CapBnd:\t0000000000000000" in docker("exec", name, "cat", "/proc/1/status")
        assert "Read-only file system" in docker("exec", name, "touch", "/opt/x", code=1)
        kind, *command = json.loads(inspect(name, "{{json .Config.Healthcheck.Test}}"))
        assert kind == "CMD"
        docker("exec", name, *command)
        assert "# state folder: /var/lib/openrouter-sse-backend" in docker(
            "exec", name, "openrouter-server", "--check-config", "--sandbox"
        )


def check_the_page_comes_with_what_formats_answers() -> None:
    """Nobody who runs the image needs Node or a network."""
    with running("-e", f"SERVER_TOKENS={TOKEN}") as (_, url):
        asked = urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(asked, timeout=10) as response:
            page = response.read().decode()
        assert 'data-format="yes"' in page
        for path in ("client.js", "assets/x/vendor/format.js", "assets/x/vendor/maths.js", "assets/x/main.js"):
            assert status(f"{url}/{path}") == 200, path


def check_the_other_commands() -> None:
    """A token without Python on the machine; and without a key, what is missing."""
    assert "token_sha256" in docker("run", "--rm", IMAGE, "new-token", "phone")
    assert "OPENROUTER_API_KEY" in docker("run", "--rm", IMAGE, code=78)


def main() -> int:
    """Builds and checks; returns the exit code."""
    print(docker("build", "-t", IMAGE, ".").splitlines()[-1])
    for check in (
        check_a_stop_in_the_middle_of_an_answer,
        check_the_gateway_is_the_proxy_that_the_guide_says,
        check_rights_and_health,
        check_the_page_comes_with_what_formats_answers,
        check_the_other_commands,
    ):
        check()
        print(f"passed: {check.__name__.replace('_', ' ')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
