"""The settings of the shared store: addresses, keys, what has to be chosen, and what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.commands.command_lines import check_config
from server.config import Config, ConfigError, Flags, load_config
from server.config.redis.url import Engine, parse_url, shown_url

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HEX = bytes(range(32)).hex()


def loaded(tmp_path: Path, text: str = "", **environ: str) -> Config:
    (tmp_path / "config.toml").write_text(text)
    return load_config(Flags(), environ, tmp_path)


def refused(tmp_path: Path, text: str = "", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("redis://h", Engine((("h", 6379),), None, None, 0, None, None, uses_tls=False)),
        ("valkeys://h:1/", Engine((("h", 1),), None, None, 0, None, None, uses_tls=True)),
        ("rediss://u:p%40@[::1]:9/3", Engine((("::1", 9),), None, None, 3, "u", "p@", uses_tls=True)),
        ("redis://:p@h", Engine((("h", 6379),), None, None, 0, None, "p", uses_tls=False)),
        ("unix:///run/r.sock", Engine((), "/run/r.sock", None, 0, None, None, uses_tls=False)),
        ("unix://u:p@/run/r.sock", Engine((), "/run/r.sock", None, 0, "u", "p", uses_tls=False)),
        (
            "redis+sentinel://a,b:2/main/4",
            Engine((("a", 26379), ("b", 2)), None, "main", 4, None, None, uses_tls=False),
        ),
    ],
)
def test_an_address_says_where_the_engine_is(url: str, engine: Engine) -> None:
    assert parse_url(url) == engine


@pytest.mark.parametrize(
    "url",
    [
        "h:6379",
        "http://h",
        "redis://",
        "redis://h:99999",
        "redis://h:x",
        "redis://a,b",
        "redis://h/x",
        "redis://h/1/2",
        "redis://h?db=1",
        "redis+sentinel://a",
        "unix://run/r.sock",
        "unix:///",
        "redis://[::1",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    (found,) = refused(tmp_path, REDIS_URL=url.replace("//", "//u:hush@"), REDIS_TEXT="plain")
    assert found.startswith("environment variable REDIS_URL: redis.url: must ")
    assert "hush" not in found


def test_nothing_has_to_be_chosen_without_an_address(tmp_path: Path) -> None:
    assert loaded(tmp_path).redis.url is None
    assert loaded(tmp_path, REDIS_TEXT="encrypted").redis.text == "encrypted"


def test_how_text_is_kept_has_to_be_chosen(tmp_path: Path) -> None:
    (found,) = refused(tmp_path, REDIS_URL="redis://h")
    assert found.startswith("environment variable REDIS_URL: redis.text: nothing says how the text")
    assert "REDIS_TEXT_KEY" in found
    assert 'redis.text = "plain"' in found
    (found,) = refused(tmp_path, REDIS_URL="redis://h", REDIS_TEXT="encrypted")
    assert "there is no REDIS_TEXT_KEY" in found
    (found,) = refused(tmp_path, REDIS_URL="redis://h", REDIS_TEXT="plain", REDIS_TEXT_KEY=KEY)
    assert "take one of them away" in found
    assert loaded(tmp_path, REDIS_URL="redis://h", REDIS_TEXT="plain").redis.text_keys == ()


@pytest.mark.parametrize("text", [KEY, KEY.rstrip("="), HEX, f"'{HEX}'"])
def test_a_key_is_32_bytes(tmp_path: Path, text: str) -> None:
    config = loaded(tmp_path, REDIS_URL="redis://h", REDIS_TEXT_KEY=text)
    assert config.redis.text_keys == (bytes(range(32)),)


def test_there_may_be_two_keys_while_one_is_replaced(tmp_path: Path) -> None:
    other = bytes(32).hex()
    assert loaded(tmp_path, REDIS_TEXT_KEY=f"{other}, {KEY}").redis.text_keys == (bytes(32), bytes(range(32)))


@pytest.mark.parametrize("text", ["hush", HEX[:-2], f"{HEX},{HEX},{HEX}", ",", KEY[:-8]])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (found,) = refused(tmp_path, REDIS_TEXT_KEY=text)
    assert found.startswith("environment variable REDIS_TEXT_KEY: redis.text_key: must be ")
    assert text not in found.replace(", and", "") or text == ","


def test_an_address_with_a_password_does_not_belong_into_the_file(tmp_path: Path) -> None:
    text = '[redis]\nurl = "redis://u:hush@h"\ntext = "plain"\n'
    (found,) = refused(tmp_path, text)
    assert "set REDIS_URL in the environment" in found
    assert "hush" not in found
    config = loaded(tmp_path, text.replace(":hush@", "@"))
    assert config.redis.url is not None
    assert config.redis.url.get_secret_value() == "redis://u@h"
    (found,) = refused(tmp_path, f'[redis]\ntext_key = "{KEY}"\n')
    assert "set REDIS_TEXT_KEY in the environment" in found


def test_secrets_come_from_files_and_credentials_too(tmp_path: Path) -> None:
    (tmp_path / "redis_url").write_text("redis://u:hush@h\n")
    (tmp_path / "key").write_text(KEY + "\n")
    config = loaded(tmp_path, CREDENTIALS_DIRECTORY=str(tmp_path), REDIS_TEXT_KEY_FILE=str(tmp_path / "key"))
    assert config.sources["redis.url"] == "credential redis_url"
    assert config.redis.text_keys == (bytes(range(32)),)


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"REDIS_URL": "redis://h", "REDIS_CA_FILE": "/x"}, "redis.ca_file: is set, but redis.url has no TLS"),
        ({"REDIS_URL": "rediss://h", "REDIS_CA_FILE": "/x"}, "redis.ca_file: is no file"),
        ({"REDIS_PREFIX": "a{b}"}, "must be 1 to 64 letters"),
        ({"REDIS_LEASE": "0.5"}, "must be a number of seconds, at least 1"),
        ({"REDIS_FLUSH_MS": "0"}, "must be a number of milliseconds, at least 1"),
        ({"REDIS_WHEN_LOST": "hope"}, "must be"),
    ],
)
def test_every_mistake_is_named(tmp_path: Path, environ: dict[str, str], what: str) -> None:
    (found,) = refused(tmp_path, **{"REDIS_TEXT": "plain", **environ})
    assert what in found


def test_all_but_the_password_of_an_address_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"REDIS_URL": "redis://u:hush@h:1/2", "REDIS_TEXT_KEY": KEY, "OPENROUTER_API_KEY": "k" * 20}
    assert check_config(Flags(), environ, tmp_path) == 0
    printed = capsys.readouterr().out
    assert '# redis.url = "redis://u:********@h:1/2"  # environment variable REDIS_URL\n' in printed
    assert "# redis.text_key = ********  # environment variable REDIS_TEXT_KEY\n" in printed
    assert check_config(Flags(), {**environ, "REDIS_URL": "redis://h"}, tmp_path) == 0
    assert '\nredis.url = "redis://h"  #' in capsys.readouterr().out
    assert "hush" not in printed + repr(loaded(tmp_path, **environ))
    assert KEY not in printed + repr(loaded(tmp_path, **environ))


def test_the_password_alone_is_hidden() -> None:
    assert shown_url("redis://:p@h") == "redis://:********@h"
    assert shown_url("redis://u@h") == "redis://u@h"
    assert shown_url("unix:///a") == "unix:///a"


def test_the_sandbox_keeps_apart_from_real_money(tmp_path: Path) -> None:
    assert loaded(tmp_path).store_prefix == "openrouter-sse"
    assert load_config(Flags(sandbox=True), {"REDIS_PREFIX": "x"}, tmp_path).store_prefix == "x-sandbox"
