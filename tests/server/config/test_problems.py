"""What is said about settings that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.config import ConfigError, ConfigProblem, Flags, environment_name, load_config, setting_fields
from server.config.sections import types_of


def problems(
    cwd: Path, toml: str = "", environ: dict[str, str] | None = None, flags: Flags | None = None
) -> list[ConfigProblem]:
    (cwd / "config.toml").write_text(toml)
    with pytest.raises(ConfigError) as caught:
        load_config(flags or Flags(), environ or {}, cwd)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return caught.value.problems


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    toml = 'port = 1\n[sever]\n[server]\nprot = 1\nport = "80"\n[upstream]\ntimeout_s = 0\napi_key = "hush"\n'
    (tmp_path / ".env").write_text("MAX_STREAMS=0\nnot a line\n")
    environ = {"STREAM_GRACE": "-1", "SERVER_TOKENS_FILE": "nowhere", "OPENROUTER_API_KEY": "a\tb"}
    found = problems(tmp_path, toml, environ, Flags(host="http://x"))
    assert sorted((problem.key or "", Path(problem.where.split()[-1]).name) for problem in found) == [
        ("", ".env"),
        ("port", "config.toml"),
        ("server.host", "--host"),
        ("server.port", "config.toml"),
        ("server.prot", "config.toml"),
        ("sever", "config.toml"),
        ("streams.grace_s", "STREAM_GRACE"),
        ("streams.max_active", "MAX_STREAMS"),
        ("tokens", "SERVER_TOKENS_FILE"),
        ("upstream.api_key", "OPENROUTER_API_KEY"),
        ("upstream.api_key", "config.toml"),
        ("upstream.timeout_s", "config.toml"),
    ]


def test_what_stands_without_the_offending_values_comes_with_the_problems(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = -1\nmax_body_bytes = 7\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Flags(), {}, tmp_path)
    assert (caught.value.config.server.port, caught.value.config.server.max_body_bytes) == (8000, 7)


@pytest.mark.parametrize(
    ("toml", "key", "nearest"),
    [
        ("[server]\nprot = 1", "server.prot", "server.port"),
        ("[server]\nttl_s = 1", "server.ttl_s", "models.ttl_s"),
        ("[upstream]\ntimeout = 1", "upstream.timeout", "upstream.timeout_s"),
        ("[stream]\nx = 1", "stream", "streams"),
        ("port = 1", "port", "server.port"),
        ("[server]\nzzzzzz = 1", "server.zzzzzz", None),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    tmp_path: Path, toml: str, key: str, nearest: str | None
) -> None:
    (problem,) = problems(tmp_path, toml)
    assert (problem.where, problem.key, problem.nearest) == (str(tmp_path / "config.toml"), key, nearest)
    assert problem.what.startswith("unknown ")
    assert (f"did you mean {nearest}?" in str(problem)) is (nearest is not None)


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('[server]\nport = "80"', 'server.port = "80": must be a whole number, at least 0, at most 65535'),
        ("[server]\nport = true", "server.port = true: must be a whole number, at least 0, at most 65535"),
        ("[server]\nport = 80.5", "server.port = 80.5: must be a whole number, at least 0, at most 65535"),
        ("[server]\nport = 65536", "server.port = 65536: must be a whole number, at least 0, at most 65535"),
        ("[server]\nport = -1", "server.port = -1: must be a whole number, at least 0, at most 65535"),
        ("[server]\nhost = 1", "server.host = 1: must be a text"),
        ("[server]\nping_interval_s = 0", "= 0: must be a number of seconds, at least 0.01"),
        ("[server]\nping_interval_s = inf", "= Infinity: must be a number of seconds, at least 0.01"),
        ("[server]\nping_interval_s = nan", "= NaN: must be a number of seconds, at least 0.01"),
        ("[server]\nmax_body_bytes = -5", "= -5: must be a whole number of bytes, at least 1"),
        ("[server]\ncors_origins = 1", "server.cors_origins = 1: must be a list of texts"),
        ("[server]\ncors_origins = [1]", "server.cors_origins[0] = 1: "),
        (
            "[models]\nttl_s = 1979-05-27",
            'models.ttl_s = "1979-05-27": must be a number of seconds, at least 0',
        ),
        ("[models]\nttl_s = {}", "models.ttl_s: must be a number of seconds, at least 0"),
        ("server = 1", "server: must be a table, written as [server]"),
        ("[[server]]", "server: must be a table, written as [server]"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_told_what_would_be_right(tmp_path: Path, toml: str, told: str) -> None:
    (problem,) = problems(tmp_path, toml)
    assert told in str(problem)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "eighty"),
        ("PORT", "1e3"),
        ("PORT", "9" * 5000),
        ("MAX_STREAMS", "-" + "9" * 400),
        ("API_TIMEOUT", "1e999"),
        ("API_TIMEOUT", "nan"),
        ("STREAM_GRACE", "-1"),
        ("OPENROUTER_MAX_RETRIES", "11"),
    ],
)
def test_a_number_that_makes_no_sense_names_its_variable(tmp_path: Path, name: str, text: str) -> None:
    (problem,) = problems(tmp_path, environ={name: text})
    assert problem.where == f"environment variable {name}"
    assert problem.value is not None
    assert len(problem.value) <= 80


def test_a_huge_number_in_the_file_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, f"[models]\nttl_s = {'9' * 400}")
    assert problem.key == "models.ttl_s"


def test_an_overridden_value_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nport = -1\n")
    assert load_config(Flags(port="1"), {}, tmp_path).server.port == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("openrouter.ai/api/v1", "begins with http:// or https://"),
        ("ftp://openrouter.ai", "begins with http:// or https://"),
        ("https://", "names a host"),
        ("https://x:port/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        ("https://x/a b", "spaces"),
        ("https://x/\na", "control characters"),
        ("https://x/?a=hush", "query"),
        ("https://x/?", "query"),
        ("https://x/#hush", "fragment"),
        ("https://me:hush@x/", "user name"),
        ("https://me:hu/sh@x/hush@", "must be a URL"),
    ],
)
def test_a_base_url_to_which_nothing_can_be_appended_is_refused(tmp_path: Path, url: str, told: str) -> None:
    (problem,) = problems(tmp_path, environ={"OPENROUTER_BASE_URL": url})
    assert told in problem.what
    assert "hush" not in str(problem)


@pytest.mark.parametrize("name", ["HTTP_REFERER", "X_TITLE", "OPENROUTER_API_KEY"])
@pytest.mark.parametrize(
    ("text", "told"),
    [("a\r\nX-Evil: 1", "line breaks"), ("a\x00b", "control"), ("a\x85b", "control"), ("a\ud83d", "text")],
)
def test_what_would_break_a_header_is_refused(tmp_path: Path, name: str, text: str, told: str) -> None:
    (problem,) = problems(tmp_path, environ={name: text})
    assert told in problem.what
    assert (problem.value is None) is (name == "OPENROUTER_API_KEY")


@pytest.mark.parametrize("key", ["sk-or-v1-…abc", "sk or v1", "“sk-or”", "sk-or\u00a0"])
def test_a_key_that_no_key_looks_like_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    (problem,) = problems(tmp_path, environ={"OPENROUTER_API_KEY": f"a{key}a"})
    assert "printable ASCII" in problem.what
    assert key not in str(problem)


@pytest.mark.parametrize("host", ["http://x", "x:80", "[::1]:80", "[x]y", "a b", "-x", "x/y"])
def test_a_host_that_cannot_be_listened_on_is_refused(tmp_path: Path, host: str) -> None:
    (problem,) = problems(tmp_path, environ={"HOST": host})
    assert problem.what == "must be an IP address or a host name, without scheme and port"


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "nul",
        "file://x/y",
        "file:///",
        "https://*.example.org",
        "https://x/path",
        "x.org",
        "https://x:99999",
        "https://u@x",
    ],
)
def test_an_origin_that_is_not_exact_is_refused(tmp_path: Path, origin: str) -> None:
    (problem,) = problems(tmp_path, environ={"CORS_ORIGINS": f"https://fine.example.org,{origin}"})
    assert problem.key == "server.cors_origins[1]"


@pytest.mark.parametrize(
    "line",
    [
        '[upstream]\napi_key = "hush"',
        '[upstream]\napi_key = "${OPENROUTER_API_KEY}"',
        '[upstream]\napikey = "hush"',
        '[upstream]\nkey = "hush"',
        'OPENROUTER_API_KEY = "hush"',
        'api-key = "hush"',
        '[server]\ntokens = ["hush"]',
        'password = "hush"',
    ],
)
def test_a_secret_in_the_file_is_told_where_it_belongs(tmp_path: Path, line: str) -> None:
    (problem,) = problems(tmp_path, line)
    name = "SERVER_TOKENS" if "token" in line else "OPENROUTER_API_KEY"
    assert f"set {name} in the environment or in .env" in problem.what
    assert problem.where == str(tmp_path / "config.toml")
    assert "hush" not in str(problem)


def test_a_key_in_an_odd_place_is_not_shown(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[server]\nhots = "sk-or-v1-hush"')
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    ("toml", "position"),
    [
        ("a = \n", "line 1, column 5: not valid TOML: Invalid value"),
        ("[server]\nport = 1\nport = 2\n", "line 3, column 9: not valid TOML: Cannot overwrite a value"),
        ("[server]\na = [1", "line 2, column 7: not valid TOML: Unclosed array"),
    ],
)
def test_broken_toml_is_told_with_line_and_column(tmp_path: Path, toml: str, position: str) -> None:
    (problem,) = problems(tmp_path, toml)
    assert str(problem) == f"{tmp_path / 'config.toml'}: {position}"


def test_broken_toml_does_not_hide_the_other_problems(tmp_path: Path) -> None:
    assert len(problems(tmp_path, "a = \n", {"PORT": "x"})) == 2


def test_a_file_that_is_not_utf8_is_told_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "latin1.toml"
    path.write_bytes('[upstream]\nx_title = "Café"\n'.encode("latin-1"))
    (problem,) = problems(tmp_path, flags=Flags(config=str(path)))
    assert problem.where == str(path)
    assert "not UTF-8 at line 2, column 15" in problem.what


def test_a_dotenv_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"X_TITLE=\xff\n")
    (problem,) = problems(tmp_path)
    assert "not UTF-8 at line 1, column 9" in str(problem)


def test_a_line_of_dotenv_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n\nnot a line\n")
    (problem,) = problems(tmp_path)
    assert str(problem) == f"{tmp_path / '.env'}: line 3: must be NAME=value"


def test_a_folder_in_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml: cannot be read: Is a directory"):
        load_config(Flags(), {}, tmp_path)


def test_a_named_file_that_is_missing_tells_who_named_it(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, flags=Flags(config="x.toml"))
    assert str(problem) == (
        f"{tmp_path / 'x.toml'}: cannot be read (named by flag --config): No such file or directory"
    )
    (problem,) = problems(tmp_path, environ={"OPENROUTER_CONFIG": "/x.toml"})
    assert "named by environment variable OPENROUTER_CONFIG" in problem.what


@pytest.mark.parametrize(("name", "key"), [("OPENROUTER_API_KEY", "upstream.api_key"), ("SERVER_TOKENS", "tokens")])
def test_a_secret_file_that_cannot_be_used_is_told_with_path_and_reason(tmp_path: Path, name: str, key: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    for file, reason in {
        "folder": "cannot be read: Is a directory",
        "missing": "cannot be read: No such file or directory",
        "empty": "is empty",
        "binary": "cannot be read: not UTF-8",
    }.items():
        (problem,) = problems(tmp_path, environ={f"{name}_FILE": file})
        assert (problem.where, problem.key) == (f"environment variable {name}_FILE", key)
        assert problem.what.startswith(f"{tmp_path / file} {reason}")


def test_a_credential_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "openrouter_api_key").mkdir()
    (problem,) = problems(tmp_path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert problem.where == "credential openrouter_api_key"
    assert "Is a directory" in problem.what


@pytest.mark.parametrize(
    ("text", "told"), [(",", "holds no token"), ("hu sh", "without spaces"), ("hüsh", "printable ASCII")]
)
def test_tokens_that_nobody_could_send_are_refused_without_showing_them(tmp_path: Path, text: str, told: str) -> None:
    (problem,) = problems(tmp_path, environ={"SERVER_TOKENS": text})
    assert told in str(problem)
    assert problem.value is None


NUMBERS = [
    (f"{section}.{key}", int in types_of(field), environment_name(field))
    for (section, key), field in setting_fields().items()
    if {int, float} & types_of(field)
]


@pytest.mark.parametrize(("key", "is_whole", "variable"), NUMBERS)
def test_every_number_has_a_range_in_which_it_can_be_meant(
    tmp_path: Path, key: str, is_whole: bool, variable: str | None
) -> None:
    """break-it, near miss: limits at 1e300 or 10^30, a ping every nanosecond."""
    section, _, name = key.partition(".")
    for value in ["1" + "0" * 30, "-1"] + ([] if is_whole else ["1e300", "-1e-9", "inf", "nan"]):
        (problem,) = problems(tmp_path, f"[{section}]\n{name} = {value}\n")
        assert (problem.key, "at least" in problem.what, "at most" in problem.what) == (key, True, True)
        if variable is not None:
            (problem,) = problems(tmp_path, "", {variable: value})
            assert problem.key == key


def test_a_ping_every_nanosecond_cannot_be_meant(tmp_path: Path) -> None:
    """break-it, near miss: a thousand comments a second."""
    (problem,) = problems(tmp_path, "", {"PING_INTERVAL": "1e-9"})
    assert "at least 0.01, at most 31622400" in problem.what
