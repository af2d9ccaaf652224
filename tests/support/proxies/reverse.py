"""nginx and Caddy in front of the product, with the configuration files that the documentation shows."""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.process import ROOT

EXAMPLES = ROOT / "docs" / "proxies"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; {user}
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/site.conf;
}}
"""
"""What stands around a site of nginx's when it runs in a folder, as nobody in particular."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a proxy is started with.

    Attributes:
        address: an address of this machine's that nobody else uses, with a port.
        upstream: the address of the product, with its port.
        certificate: a self-signed one, with its key.
        changes: what shall be different in the configuration, beside addresses.
    """

    folder: Path
    address: str
    upstream: str
    certificate: Path
    changes: Mapping[str, str]


def nginx(place: Place) -> Sequence[str]:
    """Writes the configuration; returns the command."""
    site = changed(
        EXAMPLES / "nginx.conf",
        {
            "listen 443 ssl": f"listen {place.address} ssl",
            "server 127.0.0.1:8000;": f"server {place.upstream};",
            "/etc/ssl/api.example.org.pem": str(place.certificate),
            "/etc/ssl/private/api.example.org.key": str(place.certificate),
            **place.changes,
        },
    )
    (place.folder / "site.conf").write_text(site)
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    (place.folder / "nginx.conf").write_text(NGINX.format(folder=place.folder, user=user))
    return [program("nginx", "nginx-light"), "-p", str(place.folder), "-c", "nginx.conf", "-e", "stderr"]


def caddy(place: Place) -> Sequence[str]:
    """Writes the configuration; returns the command."""
    bind = f"\tbind {place.address.partition(':')[0]}"  # or it shares the port with every other Caddy
    tls = f"\ttls {place.certificate} {place.certificate}"
    site = changed(
        EXAMPLES / "Caddyfile",
        {
            "api.example.org {": f"https://{place.address} {{\n{bind}\n{tls}",
            "127.0.0.1:8000": place.upstream,
            **place.changes,
        },
    )
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1 h2\n\t}\n}\n"
    (place.folder / "Caddyfile").write_text(options + site)
    return [program("caddy", "caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Place], Sequence[str]]] = {"nginx": nginx, "caddy": caddy}


def changed(file: Path, changes: Mapping[str, str]) -> str:
    """The file with what is different on this machine; every change must find its place."""
    text = file.read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def program(name: str, package: str) -> str:
    """Where it is installed; skips the test where it is not."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is missing: install the Debian package {package}")
    return found


@asynccontextmanager
async def proxied(
    kind: str, folder: Path, upstream_port: int, changes: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Runs a proxy with its files in an empty folder while the context is open; its URL.

    Args:
        changes: what shall be different in its configuration, beside addresses.
    """
    address = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 1}"
    certificate = await make_certificate(folder, address)
    place = Place(folder, f"{address}:8443", f"127.0.0.1:{upstream_port}", certificate, changes or {})
    environ = {"PATH": _PATH, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *PROXIES[kind](place), cwd=folder, env=environ, stdout=log, stderr=log
        )
    try:
        assert await _is_serving(process, address, folder), (folder / "log").read_text()
        yield f"https://{place.address}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        print((folder / "log").read_text())  # shown when the test fails


async def make_certificate(folder: Path, address: str) -> Path:
    """Certificate and key in one file."""
    file = folder / "certificate.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    process = await asyncio.create_subprocess_exec(
        *(program("openssl", "openssl"), "req", *options, "-subj", "/CN=test"),
        *("-addext", f"subjectAltName=IP:{address}", "-keyout", file, "-out", folder / "public.pem"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    file.write_text(file.read_text() + (folder / "public.pem").read_text())
    return file


async def _is_serving(process: asyncio.subprocess.Process, address: str, folder: Path) -> bool:
    """True as soon as it greets a caller, False when it has ended; Caddy listens before it has its certificate."""
    async with asyncio.timeout(20):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(address, 8443, ssl=trusting(folder))
            except (ConnectionError, ssl.SSLError):
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return True
    return False


def trusting(certificate_of: Path) -> ssl.SSLContext:
    """For a caller that knows the proxy's certificate."""
    return ssl.create_default_context(cafile=str(certificate_of / "public.pem"))
