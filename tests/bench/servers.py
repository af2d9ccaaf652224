"""What can be measured: this project's server, nginx as the floor, and any gateway that already runs; others are
started in `tests.bench.gateways`."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.frames import Answer
from tests.bench.processes import listener_pid, start, stop, tree, wait_until_serving
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
OURS = "openrouter-server"
REFERENCE = "nginx"
FLOOR = "floor"

KEY = "sk-bench-0000"
OPENAI_PATH = "/v1/chat/completions"
_HIDE_UVLOOP = (
    "import sys; sys.modules['uvloop'] = None; from server.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


class NotInstalled(Exception):
    """What a server needs is missing; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a server is started with.

    Attributes:
        folder: its own working directory, empty.
        upstream_port: of the stand-in upstream.
        certificate: of the upstream when it is asked over TLS.
        cores: where it runs.
    """

    folder: Path
    upstream_port: int
    certificate: Path | None
    cores: frozenset[int]

    @property
    def upstream_url(self) -> str:
        """Base URL of the upstream."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.upstream_port}/v1"


@dataclass(slots=True)
class Server:
    """A running server.

    Attributes:
        format: of its answers: `typed` (this project's events) or `openai`.
        pids: whose CPU and memory count; none for the upstream itself.
        start_s: from the start of the process to its first answer.
        model: what it is asked for, where the format is `openai`.
    """

    name: str
    port: int
    path: str
    format: str
    headers: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    running_pid: int | None = None
    start_s: float | None = None
    model: str = "bench-model"

    @property
    def pids(self) -> list[int]:
        """The processes that are the server."""
        pid = self.process.pid if self.process else self.running_pid
        return tree(pid) if pid else []

    def body(self, answer: Answer, extra: Mapping[str, object]) -> str:
        """A request for an answer; `extra` goes into it where the format knows such fields."""
        if self.format == "typed":
            return json.dumps({"message": str(answer), "model": "bench/model", **extra})
        messages = [{"role": "user", "content": str(answer)}]
        return json.dumps({"model": self.model, "stream": True, "messages": messages})

    def stop(self) -> None:
        """Ends what was started for it."""
        if self.process is not None:
            stop(self.process)


Launch = Callable[[Place], Server]


def launch_server(
    server: Server, command: list[str], place: Place, ready_path: str, env: Mapping[str, str], timeout_s: float = 30
) -> Server:
    log = place.folder / "log.txt"
    began_s = time.monotonic()
    server.process = start(command, cores=place.cores, cwd=place.folder, log=log, env=env)
    try:
        wait_until_serving(server.process, server.port, ready_path, timeout_s, log)
    except BaseException:
        server.stop()
        raise
    server.start_s = time.monotonic() - began_s
    return server


def clean_env(place: Place, **more: str) -> dict[str, str]:
    """An environment in which no setting of this machine is found."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "HOME": str(place.folder), "XDG_CONFIG_HOME": str(place.folder), **more}


SHARED = f"{OURS}-shared"
TEXT_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def openrouter_server(
    python: str,
    loop: str,
    mount: str = "",
    shared: str | None = None,
    *,
    below: Sequence[str] = (),
    timeout_s: float = 30,
) -> Launch:
    """This project's server, with all it does by default: typed events, logs of streams, a log line per request.

    `mount` is that of another client's protocol (`/v1`, `/api/v1`), which is then asked for instead. `shared` is the
    address of an engine that answers are copied to, encrypted. `below` is a command that runs it, such as valgrind's;
    `timeout_s` is how long it may take to serve.
    """

    def launch(place: Place) -> Server:
        port = free_port()
        env = clean_env(
            place,
            PYTHONPATH=str(ROOT),
            OPENROUTER_API_KEY=KEY,
            OPENROUTER_BASE_URL=place.upstream_url,
            HOST="127.0.0.1",
            PORT=str(port),
            MAX_STREAMS="10000",
            SHUTDOWN_TIMEOUT="0",
        )
        if place.certificate is not None:
            env["SSL_CERT_FILE"] = str(place.certificate)
        if shared is not None:
            env |= {"REDIS_URL": shared, "REDIS_TEXT_KEY": TEXT_KEY}
        command = [*below, python, *(("-m", "server") if loop == "uvloop" else ("-c", _HIDE_UVLOOP))]
        server = Server(OURS if shared is None else SHARED, port, "/chat", "typed")
        if mount:
            server = Server(f"{OURS}{mount}".replace("/", "-"), port, f"{mount}/chat/completions", "openai")
        return launch_server(server, command, place, "/health", env, timeout_s)

    return launch


_NGINX_CONF = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit; {user}
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream openrouter {{ server 127.0.0.1:{upstream_port}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://openrouter; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_buffer_size 32k; proxy_buffers 8 32k; proxy_read_timeout 300s;
      {tls}
    }}
  }}
}}
"""


def find_nginx() -> str:
    """Path of nginx.

    Raises:
        NotInstalled: it is not there.
    """
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotInstalled("nginx, the reference, is missing: install the Debian package nginx-light")
    return found


def nginx(place: Place) -> Server:
    """nginx with one worker and buffering off: it copies bytes and looks at nothing."""
    port = free_port()
    tls = ""
    if place.certificate is not None:
        tls = f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {place.certificate}; proxy_ssl_name 127.0.0.1;"
    conf = _NGINX_CONF.format(
        folder=place.folder,
        user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
        upstream_port=place.upstream_port,
        port=port,
        scheme="https" if place.certificate else "http",
        tls=tls,
    )
    (place.folder / "nginx.conf").write_text(conf)
    command = [find_nginx(), "-p", str(place.folder), "-c", str(place.folder / "nginx.conf"), "-e", "stderr"]
    return launch_server(Server(REFERENCE, port, OPENAI_PATH, "openai"), command, place, "/", clean_env(place))


def direct(place: Place) -> Server:
    """No server at all: what the harness itself adds to a delay."""
    return Server("direct", place.upstream_port, OPENAI_PATH, "openai")


def floor(python: str) -> Launch:
    """The bare program on the same libraries (`tests.bench.floor`)."""

    def launch(place: Place) -> Server:
        port = free_port()
        env = clean_env(place, PYTHONPATH=str(ROOT))
        if place.certificate is not None:
            env["SSL_CERT_FILE"] = str(place.certificate)
        command = [python, "-m", "tests.bench.floor", "--port", str(port), "--upstream", place.upstream_url]
        return launch_server(Server(FLOOR, port, "/chat", "typed"), command, place, "/health", env)

    return launch


@dataclass(frozen=True, slots=True)
class Peer:
    """A gateway that someone else started, pointed at the upstream of the benchmark (`--upstream-port`)."""

    name: str
    port: int
    path: str
    format: str

    def __call__(self, place: Place) -> Server:
        """Takes it as it runs: it is neither pinned nor stopped."""
        return Server(self.name, self.port, self.path, self.format, running_pid=listener_pid(self.port))


def parse_peer(text: str) -> Peer:
    """A peer as `NAME=URL,FORMAT`.

    Raises:
        ValueError: it is not of that form.
    """
    match = re.fullmatch(r"([\w.-]+)=(http://[^,]+),(typed|openai)", text)
    if match is None:
        raise ValueError("must be NAME=http://127.0.0.1:PORT/PATH,typed or the same with openai")
    url = urlsplit(match[2])
    if url.hostname not in ("127.0.0.1", "localhost") or url.port is None:
        raise ValueError("must be on this machine, with a port")
    return Peer(match[1], url.port, url.path or "/", match[3])


def start_upstream(
    port: int, tls_port: int | None, certificate: Path | None, cores: frozenset[int], folder: Path
) -> subprocess.Popen[bytes]:
    """The stand-in upstream as a process of its own."""
    command = [sys.executable, "-m", "tests.bench.upstream", "--port", str(port)]
    if tls_port is not None and certificate is not None:
        command += ["--tls-port", str(tls_port), "--certificate", str(certificate)]
    log = folder / "upstream.txt"
    process = start(command, cores=cores, cwd=ROOT, log=log)
    try:
        wait_until_serving(process, port, "/stats", 20, log)
    except BaseException:
        stop(process)
        raise
    return process


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key in the same file; openssl makes it.

    Raises:
        NotInstalled: openssl is not there.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise NotInstalled("openssl is missing: install the Debian package openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    certificate.write_text(certificate.read_text() + key.read_text())
    return certificate
