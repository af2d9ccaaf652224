"""The command line, and what it prints about the settings."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from client.config import UpstreamConfig
from server.commands.command_lines import (
    ServerArgs,
    add_shared_arguments,
    check_config,
    missing_key_message,
    parse_server_args,
    print_config,
    shared_flags,
)
from server.config import EX_CONFIG, Config, Flags, Settings, load_config, setting_fields
from server.version import program_version


def test_without_arguments_no_flag_is_set() -> None:
    assert parse_server_args([]) == ServerArgs(Flags(), check_config=False)


def test_every_flag_of_the_server_is_read() -> None:
    argv = ["--config", "f", "--host", "h", "--port", "p", "--sandbox", "--check-config"]
    flags = Flags(config="f", host="h", port="p", sandbox=True)
    assert parse_server_args(argv) == ServerArgs(flags, check_config=True)


@pytest.mark.parametrize("argv", [["--unknown"], ["--sand"], ["extra"], ["--port"]])
def test_an_unknown_argument_ends_with_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_server_args(argv)
    assert caught.value.code == 2
    assert "usage: openrouter-server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--prot", "1"], "there is no option --prot; did you mean --port?"),
        (["--prot=1"], "there is no option --prot; did you mean --port?"),
        (["-p", "80"], "there is no option -p; did you mean --port?"),
        (["--conf", "x"], "there is no option --conf; did you mean --config?"),
        (["install-service", "--use"], "there is no option --use; did you mean --user?"),
        (["--reload"], "there is no option --reload. Without a command it serves"),
        (["serve"], "Without a command it serves: openrouter-server"),
        (["start", "--port", "1"], "Without a command it serves: openrouter-server"),
    ],
)
def test_bare_15_a_mistake_is_named_with_what_was_probably_meant(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_server_args(argv)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_a_value_may_begin_with_a_dash_and_a_digit() -> None:
    assert parse_server_args(["--port", "-1"]).flags.port == "-1"  # judged with the other settings


def test_the_help_says_where_settings_and_key_are_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_server_args(["--help"])
    told = capsys.readouterr().out
    for place in (
        ".env",
        "OPENROUTER_CONFIG",
        "./config.toml",
        "$CONFIGURATION_DIRECTORY",
        "OPENROUTER_API_KEY_FILE",
    ):
        assert place in told


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_server_args(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"openrouter-server {program_version()}\n"


def test_the_shared_flags_serve_another_command() -> None:
    parser = argparse.ArgumentParser(prog="openrouter-mcp")
    add_shared_arguments(parser)
    assert shared_flags(parser.parse_args(["--config", "f", "--sandbox"])) == Flags(config="f", sandbox=True)


def test_check_config_prints_every_setting_with_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('[server]\ncors_origins = ["https://a"]\n[upstream]\nx_title = "ü"\n')
    (tmp_path / ".env").write_text("API_TIMEOUT=5\n")
    environ = {"OPENROUTER_API_KEY": "hush-key", "SERVER_TOKENS": "hush-a,hush-b", "HOST": "::1"}
    assert check_config(Flags(port="0"), environ, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "hush" not in out
    lines = out.splitlines()
    assert lines[2] == "# proxy: none"
    keys = [f"{section}.{key}" for section, key in setting_fields()]
    assert [line.removeprefix("# ").split(" = ")[0] for line in lines[3:]] == [
        *keys,
        "callers[0]",
        "callers[1]",
        "sandbox",
    ]
    file = tmp_path / "config.toml"
    for line in (
        f"# config file: {file}",
        f'upstream.x_title = "ü"  # {file}',
        "# upstream.api_key = ********  # environment variable OPENROUTER_API_KEY",
        '# callers[1] = {name = "token-c9ca580d"}  # environment variable SERVER_TOKENS',
        f"upstream.timeout_s = 5.0  # {tmp_path / '.env'} API_TIMEOUT",
        f'server.cors_origins = ["https://a"]  # {file}',
        'server.host = "::1"  # environment variable HOST',
        "server.port = 0  # flag --port",
        'upstream.http_referer = ""  # default',
        "# sandbox = false  # default",
    ):
        assert line in lines


def test_bare_19_what_check_config_prints_is_a_config_toml_that_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(
        '[server]\ncors_origins = ["https://a"]\n[upstream]\nx_title = "ü\\t\\"x"\n'.replace("\\t", "")
    )
    environ = {"OPENROUTER_API_KEY": "k" * 20, "SERVER_TOKENS": "hush-a,hush-b", "PORT": "81", "STREAM_GRACE": "1e-5"}
    first = load_config(Flags(), environ, tmp_path)
    for flags in (Flags(), Flags(sandbox=True)):
        assert check_config(flags, environ, tmp_path) == 0
        again = tmp_path / "again.toml"
        again.write_text(capsys.readouterr().out)
        second = load_config(Flags(config=str(again)), {"OPENROUTER_API_KEY": "k" * 20}, tmp_path)
        for name in Settings.model_fields:
            assert getattr(second, name) == getattr(first, name)


def test_quietly_check_config_prints_problems_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_config(Flags(sandbox=True), {}, tmp_path, quiet=True) == 0
    assert capsys.readouterr() == ("", "")
    assert check_config(Flags(sandbox=True), {"PORT": "x"}, tmp_path, quiet=True) == EX_CONFIG
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_check_config_prints_every_problem_after_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"PORT": "x", "CORS_ORIGINS": "*", "SERVER_TOKENS": "hush hush"}
    assert check_config(Flags(), environ, tmp_path) == EX_CONFIG
    out, err = capsys.readouterr()
    assert "# config file: none\n" in out
    assert "# server.port: invalid, see the problems\n" in out
    assert "# server.cors_origins: invalid, see the problems\n" in out
    for told in (
        "PORT: server.port",
        "CORS_ORIGINS: server.cors_origins[0]",
        "SERVER_TOKENS: tokens",
        "no key",
    ):
        assert told in err
    assert "hush" not in out + err


def test_check_config_says_that_the_server_would_not_start_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_config(Flags(), {}, tmp_path) == EX_CONFIG
    assert "There is no key" in capsys.readouterr().err
    assert check_config(Flags(sandbox=True), {}, tmp_path) == 0
    assert "# sandbox = true  # flag --sandbox\n" in capsys.readouterr().out


def test_a_key_file_that_cannot_be_read_is_not_also_called_a_missing_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_config(Flags(), {"OPENROUTER_API_KEY_FILE": "nowhere"}, tmp_path) == EX_CONFIG
    err = capsys.readouterr().err
    assert "nowhere cannot be read" in err
    assert "There is no key" not in err


def test_the_missing_key_message_names_the_three_ways_on() -> None:
    message = missing_key_message(Config())
    assert message is not None
    for way in ("OPENROUTER_API_KEY", "--sandbox", "upstream.base_url"):
        assert way in message


def test_the_missing_key_message_names_the_dotenv_that_was_looked_at(tmp_path: Path) -> None:
    assert f"({tmp_path / '.env'} is not there;" in (missing_key_message(Config(), tmp_path) or "")
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=<your key>\n")
    assert f"({tmp_path / '.env'} has none;" in (missing_key_message(Config(), tmp_path) or "")


PLACEHOLDERS = [
    *(
        "<your key>",
        "paste-your-OpenRouter-key-here",
        "paste-a-token-of-your-server-here",
        "your-api-key",
        "YOUR_API_KEY",
    ),
    *(
        "sk-or-v1-...",
        "sk-or-v1-…",
        "sk-or-v1-xxxxxxxx",
        "sk-or-v1-your-key",
        "sk-your-key",
        "[key]",
        "{{KEY}}",
        "changeme",
    ),
    *("xxx", "****", "put your key here", "insert_key", "my-key", "None", "todo", "$OPENROUTER_API_KEY"),
]


@pytest.mark.parametrize("key", PLACEHOLDERS)
def test_bare_20_what_stands_where_a_key_belongs_is_none(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(f"{key}\n")
    (tmp_path / "openrouter_api_key").write_text(key)
    for environ in (
        {"OPENROUTER_API_KEY": key},
        {"OPENROUTER_API_KEY_FILE": "key"},
        {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    ):
        assert load_config(Flags(), environ, tmp_path).lacks_key
    (tmp_path / ".env").write_text("OPENROUTER_API_KEY=sk-or-v1-0123456789abcdef\n")
    assert not load_config(Flags(), {"OPENROUTER_API_KEY": key}, tmp_path).lacks_key


@pytest.mark.parametrize(
    "key", ["sk-or-v1-0123456789abcdef", "k", "token-1", "ollama", "hush-1", "x" * 3 + "y", "sk-proj-x_y-"]
)
def test_what_may_be_a_key_is_taken_for_one(tmp_path: Path, key: str) -> None:
    assert not load_config(Flags(), {"OPENROUTER_API_KEY": key}, tmp_path).lacks_key


def test_no_key_is_missed_where_none_is_needed() -> None:
    assert missing_key_message(Config(sandbox=True)) is None
    assert missing_key_message(Config(upstream=UpstreamConfig(base_url="http://localhost/v1"))) is None


def test_defaults_print_without_any_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_config(Config())
    assert "server.port = 8000  # default\n" in capsys.readouterr().out
