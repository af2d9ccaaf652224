"""An engine over TLS is asked only if its certificate holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config.redis.url import parse_url
from server.shared.engine.lines import Dialler, EngineLost, Line
from tests.bench.servers import make_certificate
from tests.support.engines import PASSWORD, USER, running_engine
from tests.support.ports import free_port


async def ask(url: str, ca_file: Path | None) -> object:
    line = Line(Dialler(parse_url(url), ca_file=None if ca_file is None else str(ca_file)).maker("test"))
    try:
        return await line.ask("PING")
    finally:
        await line.aclose()


async def test_a_certificate_that_does_not_verify_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    certificate, other = make_certificate(tmp_path), make_certificate(tmp_path / "other")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate))
    with running_engine("redis", *options, *files):
        url = f"rediss://{USER}:{PASSWORD}@127.0.0.1:{port}"
        assert await ask(url, certificate) == b"PONG"
        for wrong, address in ((other, url), (None, url), (certificate, url.replace("127.0.0.1", "localhost"))):
            with pytest.raises(EngineLost) as caught:
                await ask(address, wrong)
            assert PASSWORD not in str(caught.value)
