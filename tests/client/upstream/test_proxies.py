"""The proxy variables of the environment, as curl and the SDKs read them, for real proxies and real processes."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from client.config import UpstreamConfig
from client.errors import OpenRouterError
from client.sandbox import Reply, Sandbox
from client.upstream.openrouter import OpenRouterClient, create_session
from client.upstream.proxies import UnusableProxy, proxy_for
from server.commands.command_lines import check_config
from server.config import EX_CONFIG, Flags
from tests.support.chunks import END, STOP, text
from tests.support.process import running_server, start_server
from tests.support.proxies.forward import forward_proxy
from tests.support.raw_upstream import http_reply

UPSTREAM = "https://openrouter.ai/api/v1"
PLAIN = "http://llm.example:8080/v1"
KEY = "sk-or-v1-a-key-that-only-upstream-may-see"


@pytest.mark.parametrize(
    ("url", "environ", "shown"),
    [
        (UPSTREAM, {}, None),
        (UPSTREAM, {"https_proxy": "http://p:3128"}, "http://p:3128"),
        (UPSTREAM, {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        (UPSTREAM, {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2"}, "http://low:1"),
        (UPSTREAM, {"https_proxy": "", "HTTPS_PROXY": "http://up:2", "ALL_PROXY": "http://all:3"}, None),
        (UPSTREAM, {"HTTP_PROXY": "http://p:3128"}, None),
        (UPSTREAM, {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        (UPSTREAM, {"all_proxy": "p:3128"}, "http://p:3128"),
        (UPSTREAM, {"https_proxy": "p"}, "http://p:80"),
        (UPSTREAM, {"https_proxy": " https://p/ "}, "https://p:443"),
        (UPSTREAM, {"https_proxy": "http://u:s3cret@[::1]:8"}, "http://[::1]:8"),
        (PLAIN, {"http_proxy": "http://p:3128"}, "http://p:3128"),
        (PLAIN, {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        (PLAIN, {"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, None),
        (PLAIN, {"HTTPS_PROXY": "http://p:3128"}, None),
        *[(url, {"all_proxy": "http://p:1"}, None) for url in (
            "http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://127.8.9.1/v1", "http://[::1]:1/v1",
            "http://a.localhost/v1", "http://localhost./v1", "http://0.0.0.0:1/v1")],
        *[(UPSTREAM, {"https_proxy": "http://p:1", name: value}, None) for name in ("no_proxy", "NO_PROXY")
          for value in ("*", "openrouter.ai", ".openrouter.ai", "*.openrouter.ai", "x, openrouter.ai",
                        "x openrouter.ai", "OPENROUTER.AI", "ai", "openrouter.ai:443", "a,,*")],
        *[(UPSTREAM, {"https_proxy": "http://p:1", "no_proxy": value}, "http://p:1") for value in (
            "", "router.ai", "api.openrouter.ai", "openrouter.ai:80", "openrouter.ai.evil", "10.0.0.0/8", "::1")],
        (UPSTREAM, {"https_proxy": "http://p:1", "no_proxy": "x", "NO_PROXY": "*"}, "http://p:1"),
        *[("http://10.1.2.3/v1", {"http_proxy": "http://p:1", "no_proxy": value}, None) for value in (
            "10.1.2.3", "10.0.0.0/8", "10.1.2.3:80")],
        *[("http://[fd00::1]:90/v1", {"http_proxy": "http://p:1", "no_proxy": value}, None) for value in (
            "fd00::1", "[fd00::1]", "[fd00::1]:90", "fd00::/8")],
        ("http://10.1.2.3/v1", {"http_proxy": "http://p:1", "no_proxy": "10.1.2.4,3,1.2.3,x/8"}, "http://p:1"),
    ],
)  # fmt: skip
def test_the_variables_mean_what_they_mean_to_others(url: str, environ: dict[str, str], shown: str | None) -> None:
    """faults J1."""
    proxy = proxy_for(url, environ)
    assert (None if proxy is None else proxy.url) == shown
    assert "s3cret" not in repr(proxy)


@pytest.mark.parametrize(
    "value",
    ["socks5://p:1080", "socks5h://u:s3cret@p", "ftp://p", "http://", "http://p:99999", "http://[", "a b"],
)
def test_a_proxy_that_cannot_be_used_is_named_and_not_passed_over(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """faults J1."""
    with pytest.raises(UnusableProxy):
        proxy_for(UPSTREAM, {"ALL_PROXY": value})
    environ = {"ALL_PROXY": value, "OPENROUTER_API_KEY": KEY}
    assert check_config(Flags(), environ, tmp_path) == EX_CONFIG
    told = capsys.readouterr()
    assert "ALL_PROXY" in told.err
    assert "s3cret" not in told.err + told.out
    assert check_config(Flags(sandbox=True), environ, tmp_path) == 0
    assert check_config(Flags(), {**environ, "NO_PROXY": "openrouter.ai"}, tmp_path) == 0


def test_check_config_shows_the_proxy_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """faults J1."""
    environ = {"OPENROUTER_API_KEY": KEY, "HTTPS_PROXY": "http://me:s3cret@proxy.example:3128"}
    assert check_config(Flags(), environ, tmp_path) == 0
    told = capsys.readouterr().out
    assert "# proxy: http://proxy.example:3128 (HTTPS_PROXY)" in told
    assert "s3cret" not in told


# -- plain HTTP ----------------------------------------------------------------------------------------------------


async def test_plain_http_goes_through_the_proxy_with_its_password_and_ours_is_kept(upstream: Sandbox) -> None:
    """faults J1, mcp F5."""
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with forward_proxy(urlsplit(upstream.base_url).port or 0) as proxy:
        environ = {"http_proxy": f"http://m%65:s%40cr%C3%A9t@127.0.0.1:{proxy.port}"}
        base_url = f"http://llm.example{urlsplit(upstream.base_url).path}"
        config = UpstreamConfig(base_url=base_url, api_key=SecretStr(KEY))
        async with create_session(config) as session:
            openrouter = OpenRouterClient(session, config, environ)
            reply = await openrouter.open_chat({"model": "a/b", "messages": []})
            reply.close()
            assert isinstance(await openrouter.get_json("/models"), dict)
        proxy.refusal = "407 Proxy Authentication Required"
        async with create_session(config) as session:
            with pytest.raises(OpenRouterError) as refused:
                await OpenRouterClient(session, config, environ).get_json("/models")
    head = proxy.heads[0].decode()
    assert head.startswith(f"POST {base_url}/chat/completions HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {b64encode('me:s@crét'.encode()).decode()}" in head
    assert f"Authorization: Bearer {KEY}" in head
    assert "proxy" in refused.value.failure.error
    assert "s@crét" not in str(refused.value.failure)


async def test_a_proxy_that_is_not_there_is_named(upstream: Sandbox) -> None:
    """faults J1."""
    config = UpstreamConfig(base_url="http://llm.example/v1")
    async with create_session(config) as session:
        openrouter = OpenRouterClient(session, config, {"ALL_PROXY": "http://me:s3cret-word@127.0.0.1:1"})
        with pytest.raises(OpenRouterError) as caught:
            await openrouter.open_chat({})
    assert "proxy http://127.0.0.1:1" in caught.value.failure.error
    assert "ALL_PROXY" in caught.value.failure.error
    assert "s3cret" not in str(caught.value.failure)


# -- tunnels, with real processes ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `upstream.example` with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "upstream.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("upstream.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("certificate") / "upstream.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
async def test_an_answer_comes_through_a_tunnel_and_netrc_does_not_take_the_keys_place(
    certificate: Path, tmp_path: Path, *, uvloop: bool
) -> None:
    """faults J1."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = text("through") + STOP + END
        writer.write(http_reply(body, content_type="text/event-stream", more="Connection: close\r\n"))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    (tmp_path / ".netrc").write_text("machine upstream.example login thief password stolen\n")
    target = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with target, forward_proxy(target.sockets[0].getsockname()[1]) as proxy:
        env = {
            "OPENROUTER_BASE_URL": "https://upstream.example/v1", "OPENROUTER_API_KEY": KEY, "HOME": str(tmp_path),
            "SSL_CERT_FILE": str(certificate), "HTTPS_PROXY": f"http://me:s3cret-word@127.0.0.1:{proxy.port}",
            "NO_PROXY": "other.example",
        }  # fmt: skip
        async with running_server(env=env, uvloop=uvloop) as server:
            assert f"through the proxy http://127.0.0.1:{proxy.port} (HTTPS_PROXY)" in server.start_line
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            body = b'{"message":"hi"}'
            head = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: 16\r\nConnection: close\r\n\r\n" + body)
            async with asyncio.timeout(10):
                answered = await reader.read()
            writer.close()
            await server.stop()
    assert b'{"text":"through"}' in answered
    assert proxy.heads[0].startswith(b"CONNECT upstream.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + b64encode(b"me:s3cret-word") in proxy.heads[0]
    assert f"Authorization: Bearer {KEY}".encode() in seen[0]
    assert KEY.encode() not in proxy.heads[0]
    assert b"Proxy-Authorization" not in seen[0]
    assert b"s3cret" not in server.output + server.start_line.encode()


async def test_the_sandbox_and_loopback_need_no_proxy(upstream: Sandbox) -> None:
    """faults J1, mcp F5."""
    upstream.script(Reply.stream(text("x"), STOP, END))
    async with forward_proxy(1) as proxy:
        env = dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), f"http://127.0.0.1:{proxy.port}"
        )
        for flags, more in ((("--sandbox",), {}), ((), {"OPENROUTER_BASE_URL": upstream.base_url})):
            async with running_server(*flags, env={**env, **more}) as server:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(b"GET /models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                writer.close()
        assert not proxy.heads


async def test_a_server_does_not_start_with_a_proxy_that_it_cannot_use(tmp_path: Path) -> None:
    """faults J1."""
    env = {"OPENROUTER_API_KEY": KEY, "ALL_PROXY": "socks5://127.0.0.1:1080"}
    process = await start_server("--port", "0", cwd=str(tmp_path), env=env)
    _, told = await process.communicate()
    assert process.returncode == EX_CONFIG
    assert b"ALL_PROXY" in told
