"""Where settings come from, and which place wins."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from client.config import UpstreamConfig
from server.config import Config, ConfigError, Flags, ServerConfig, load_config


def test_without_any_source_everything_is_at_its_default(tmp_path: Path) -> None:
    assert load_config(Flags(), {}, tmp_path) == Config()


def test_each_level_overrides_the_ones_below_it(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[server]\nport = 1\nhost = "file"\n[models]\nttl_s = 1\n')
    config = load_config(Flags(), {}, tmp_path)
    assert (config.server.port, config.server.host, config.models.ttl_s) == (1, "file", 1)
    assert config.sources["server.port"] == str(tmp_path / "config.toml")

    (tmp_path / ".env").write_text("PORT=2\nHOST=dotenv\nMODELS_TTL=2.5\n")
    config = load_config(Flags(), {}, tmp_path)
    assert (config.server.port, config.server.host, config.models.ttl_s) == (2, "dotenv", 2.5)
    assert config.sources["server.port"] == f"{tmp_path / '.env'} PORT"

    environ = {"PORT": "3", "HOST": "environment"}
    config = load_config(Flags(), environ, tmp_path)
    assert (config.server.port, config.server.host, config.models.ttl_s) == (3, "environment", 2.5)
    assert config.sources["server.port"] == "environment variable PORT"

    config = load_config(Flags(port="4", host="flag"), environ, tmp_path)
    assert (config.server.port, config.server.host, config.models.ttl_s) == (4, "flag", 2.5)
    assert config.sources["server.port"] == "flag --port"
    assert "streams.grace_s" not in config.sources


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "value"),
    [
        (
            "OPENROUTER_BASE_URL",
            "http://localhost:11434/v1/",
            "upstream",
            "base_url",
            "http://localhost:11434/v1",
        ),
        ("HTTP_REFERER", "https://example.org", "upstream", "http_referer", "https://example.org"),
        ("X_TITLE", "Café", "upstream", "x_title", "Café"),
        ("MODEL_NAME", "a/b", "upstream", "model", "a/b"),
        ("API_TIMEOUT", "7", "upstream", "timeout_s", 7.0),
        ("OPENROUTER_CONNECT_TIMEOUT", "0.5", "upstream", "connect_timeout_s", 0.5),
        ("OPENROUTER_IDLE_TIMEOUT", "8", "upstream", "idle_timeout_s", 8.0),
        ("OPENROUTER_MAX_RETRIES", "0", "upstream", "max_retries", 0),
        ("MAX_EVENT_BYTES", "2048", "upstream", "max_event_bytes", 2048),
        ("HOST", "::1", "server", "host", "::1"),
        ("PORT", "0", "server", "port", 0),
        ("MAX_BODY_BYTES", "10", "server", "max_body_bytes", 10),
        ("PING_INTERVAL", "1.5", "server", "ping_interval_s", 1.5),
        ("SHUTDOWN_TIMEOUT", "0", "server", "shutdown_timeout_s", 0.0),
        (
            "CORS_ORIGINS",
            "https://A.example.org/, http://b:80,https://c:8443",
            "server",
            "cors_origins",
            ("https://a.example.org", "http://b", "https://c:8443"),
        ),
        ("MODELS_TTL", "0", "models", "ttl_s", 0.0),
        ("STREAM_GRACE", "0", "streams", "grace_s", 0.0),
        ("STREAM_MAX_GRACE", "1", "streams", "max_grace_s", 1.0),
        ("STREAM_RETAIN", "2", "streams", "retain_s", 2.0),
        ("STREAM_MAX_LOG_BYTES", "65536", "streams", "max_log_bytes", 65536),
        ("STREAM_MAX_RESULT_BYTES", "65538", "streams", "max_result_bytes", 65538),
        ("STREAM_MAX_TOTAL_BYTES", "65537", "streams", "max_total_bytes", 65537),
        ("MAX_STREAMS", "3", "streams", "max_active", 3),
        ("STREAMS_KEEP", "disk", "streams", "keep", "disk"),
        ("STREAM_MAX_DISK_BYTES", "1048576", "streams", "max_disk_bytes", 1048576),
    ],
)
def test_an_environment_variable_sets_its_key(
    tmp_path: Path, name: str, text: str, section: str, key: str, value: object
) -> None:
    config = load_config(Flags(), {name: text}, tmp_path)
    assert getattr(getattr(config, section), key) == value
    assert config.sources == {f"{section}.{key}": f"environment variable {name}"}


@pytest.mark.parametrize("text", ["", "  ", "${PORT}", "${PORT:-1}"])
def test_a_blank_or_unfilled_variable_counts_as_unset(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_text("PORT=2\n")
    environ = {"PORT": text, "OPENROUTER_API_KEY": text, "SERVER_TOKENS": text, "CORS_ORIGINS": text}
    config = load_config(Flags(), environ, tmp_path)
    assert config.server.port == 2
    assert config.server.cors_origins == ()
    assert config.upstream.api_key is None
    assert config.callers == ()


def test_a_blank_or_unfilled_text_in_the_file_counts_as_unset(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[upstream]\nhttp_referer = ""\nx_title = "${T}"\nmodel = " "\n')
    config = load_config(Flags(), {}, tmp_path)
    assert config.upstream == UpstreamConfig()
    assert config.sources == {}


def test_dotenv_knows_quotes_comments_and_export(tmp_path: Path) -> None:
    lines = [
        "\ufeff# comment",
        "export PORT='81' # here",
        'X_TITLE="My # app"',
        "MODEL_NAME = a/b",
        "OTHER=x",
        "Y",
    ]
    (tmp_path / ".env").write_text("\r\n".join(lines), encoding="utf-8")
    config = load_config(Flags(), {}, tmp_path)
    assert config.server.port == 81
    assert config.upstream.x_title == "My # app"
    assert config.upstream.model == "a/b"


def test_dotenv_is_not_interpolated(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=${HOST}\n")
    assert load_config(Flags(), {"HOST": "secret"}, tmp_path).upstream.api_key is None


def test_a_folder_named_dotenv_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load_config(Flags(), {}, tmp_path) == Config()


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[server]\nport = 1\n")
        return path

    cwd = tmp_path / "cwd"
    cwd.mkdir()
    places = [
        write(tmp_path / "home" / ".config" / "openrouter-sse-backend" / "config.toml"),
        write(tmp_path / "etc2" / "config.toml"),
        write(cwd / "config.toml"),
        write(cwd / "named.toml"),
        write(cwd / "flag.toml"),
    ]
    environ = {"HOME": str(tmp_path / "home")}
    used = [load_config(Flags(), environ, cwd / "..").file]
    environ["CONFIGURATION_DIRECTORY"] = f"{tmp_path / 'etc'}:{tmp_path / 'etc2'}"
    used.append(load_config(Flags(), environ, tmp_path).file)
    used.append(load_config(Flags(), environ, cwd).file)
    environ["OPENROUTER_CONFIG"] = "named.toml"
    used.append(load_config(Flags(), environ, cwd).file)
    used.append(load_config(Flags(config="flag.toml"), environ, cwd).file)
    assert used == places


def test_the_users_config_folder_follows_xdg(tmp_path: Path) -> None:
    path = tmp_path / "xdg" / "openrouter-sse-backend" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("")
    environ = {"HOME": "/dev/null", "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load_config(Flags(), environ, tmp_path).file == path


def test_a_home_that_is_no_folder_is_passed_over(tmp_path: Path) -> None:
    assert load_config(Flags(), {"HOME": "/dev/null"}, tmp_path).file is None


def test_the_key_comes_from_the_environment_its_file_the_credential_and_dotenv(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "openrouter_api_key").write_text("from-credential\n")
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=from-dotenv\n")
    environ: dict[str, str] = {}

    def key() -> tuple[str, str]:
        config = load_config(Flags(), environ, tmp_path)
        assert config.upstream.api_key is not None
        return config.upstream.api_key.get_secret_value(), config.sources["upstream.api_key"]

    assert key() == ("from-dotenv", f"{tmp_path / '.env'} OPENROUTER_API_KEY")
    environ["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
    assert key() == ("from-credential", "credential openrouter_api_key")
    environ["OPENROUTER_API_KEY_FILE"] = "key"
    assert key() == ("from-file", f"environment variable OPENROUTER_API_KEY_FILE {tmp_path / 'key'}")
    environ["OPENROUTER_API_KEY"] = " from-environment "
    assert key() == ("from-environment", "environment variable OPENROUTER_API_KEY")


def test_tokens_come_as_a_comma_list_or_one_per_line(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "server_tokens").write_text("a\n\nb\r\n")
    (tmp_path / "tokens").write_text("c, d\ne\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}

    def tokens() -> list[str]:
        callers = load_config(Flags(), environ, tmp_path).callers
        assert [each.name for each in callers] == [f"token-{(each.token_sha256 or '')[:8]}" for each in callers]
        known = {hashlib.sha256(token.encode()).hexdigest(): token for token in "abcdefg"}
        return [known[caller.token_sha256 or ""] for caller in callers]

    assert tokens() == ["a", "b"]
    environ["SERVER_TOKENS_FILE"] = str(tmp_path / "tokens")
    assert tokens() == ["c", "d", "e"]
    environ["SERVER_TOKENS"] = "f , g,f,"
    assert tokens() == ["f", "g"]


def test_no_secret_is_in_the_text_of_the_config(tmp_path: Path) -> None:
    environ = {"OPENROUTER_API_KEY": "hush-key", "SERVER_TOKENS": "hush-token"}
    config = load_config(Flags(), environ, tmp_path)
    texts = f"{config!r} {config} {config.model_dump_json()}"
    assert "hush" not in texts
    assert hashlib.sha256(b"hush-token").hexdigest() not in repr(config)


def test_the_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1  # type: ignore[misc]


def test_the_sandbox_is_only_ever_chosen_by_flag(tmp_path: Path) -> None:
    assert not load_config(Flags(), {"SANDBOX": "1"}, tmp_path).sandbox
    assert load_config(Flags(sandbox=True), {}, tmp_path).sandbox
    (tmp_path / "config.toml").write_text("sandbox = true\n")
    with pytest.raises(ConfigError, match="sandbox = true: unknown key"):
        load_config(Flags(), {}, tmp_path)


@pytest.mark.parametrize(
    ("base_url", "needed"),
    [
        ("https://openrouter.ai/api/v1", True),
        ("https://eu.OpenRouter.ai/api/v1", True),
        ("http://localhost:11434/v1", False),
        ("https://notopenrouter.ai/v1", False),
    ],
)
def test_only_openrouter_itself_needs_a_key(base_url: str, needed: bool) -> None:
    assert UpstreamConfig(base_url=base_url).needs_key is needed
    assert Config(upstream=UpstreamConfig(base_url=base_url)).lacks_key is needed
    assert not Config(upstream=UpstreamConfig(base_url=base_url), sandbox=True).lacks_key
    assert not Config(upstream=UpstreamConfig(base_url=base_url, api_key=SecretStr("k"))).lacks_key


def test_sections_built_by_hand_follow_the_same_rules() -> None:
    assert UpstreamConfig(api_key=SecretStr("${KEY}"), x_title=" ", base_url="") == UpstreamConfig()
    assert ServerConfig(port=0).port == 0
    with pytest.raises(ValidationError) as caught:
        UpstreamConfig(api_key=SecretStr("hush\nhush"))
    assert "hush" not in str(caught.value)
