"""Who may call, as `config.toml` and the environment say it, and what is said about mistakes."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from server.__main__ import main
from server.access.callers import LOCAL, Caller, keep_names
from server.commands.command_lines import check_config
from server.config import Config, Flags, load_config
from tests.server.config.test_problems import problems

ROOT = Path(__file__).parents[3]
HASH = hashlib.sha256(b"one").hexdigest()
OTHER = hashlib.sha256(b"two").hexdigest()


def table(name: str = "phone", token_sha256: str = HASH, more: str = "") -> str:
    return f'[[callers]]\nname = "{name}"\ntoken_sha256 = "{token_sha256}"\n{more}\n'


def test_a_table_says_all_that_a_caller_may(tmp_path: Path) -> None:
    limits = (
        'models = ["openai/*", "a/b"]\nrequests_per_minute = 60\nmax_concurrent = 4\n'
        "budget_usd_per_day = 2.50\nadmin = true"
    )
    (tmp_path / "config.toml").write_text(table(" phone ", HASH.upper(), limits) + table("Büro 2", OTHER))
    config = load_config(Flags(), {}, tmp_path)
    phone = Caller("phone", HASH, ("openai/*", "a/b"), 60, 4, Decimal("2.5"), admin=True)
    assert config.callers == (phone, Caller("Büro 2", OTHER))
    assert config.caller_named("phone") == phone
    assert config.caller_named("local") is None


def test_tables_and_plain_tokens_stand_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(table())
    config = load_config(Flags(), {"SERVER_TOKENS": "two"}, tmp_path)
    assert config.callers == (Caller("phone", HASH), Caller(f"token-{OTHER[:8]}", OTHER))
    file = str(tmp_path / "config.toml")
    assert config.sources == {"callers[0]": file, "callers[1]": "environment variable SERVER_TOKENS"}


ALIKE = ("token-00000000000000000000005346", "token-00000000000000000000020056")
"""Tokens whose SHA-256 have their first 8 digits in common."""
FIRST, SECOND = (hashlib.sha256(token.encode()).hexdigest() for token in ALIKE)


def callers_of(folder: Path, *tokens: str) -> tuple[Caller, ...]:
    return load_config(Flags(), {"SERVER_TOKENS": ",".join(tokens)}, folder).callers


def test_a_caller_with_a_plain_token_is_named_by_it_wherever_it_stands(tmp_path: Path) -> None:
    """break-it 3."""
    ann, bob = callers_of(tmp_path, "one", "two")
    assert [ann.name, bob.name] == [f"token-{HASH[:8]}", f"token-{OTHER[:8]}"]
    assert callers_of(tmp_path, "two", "three", "one", "two")[::2] == (bob, ann)
    assert callers_of(tmp_path, "two") == (bob,)


def test_tokens_that_are_alike_in_their_first_digits_have_names_of_their_own(tmp_path: Path) -> None:
    """break-it 3: two tokens whose 8 digits collide."""
    assert FIRST[:8] == SECOND[:8]
    found = callers_of(tmp_path, *ALIKE, "one")
    assert [each.name for each in found] == [f"token-{FIRST[:9]}", f"token-{SECOND[:9]}", f"token-{HASH[:8]}"]
    (tmp_path / "config.toml").write_text(table(name=f"token-{FIRST[:8]}", token_sha256=FIRST))
    assert callers_of(tmp_path, ALIKE[1])[1] == Caller(f"token-{SECOND[:9]}", SECOND)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ('"one"', ["one"]),
        ("'one'", ["one"]),
        ('"one,two"', ["one", "two"]),
        ('"one","two"', ["one", "two"]),
        ("'one', two ,\"three\"", ["one", "two", "three"]),
        ('on"e', ['on"e']),
    ],
)
def test_a_token_in_quotes_is_the_token_without_them(tmp_path: Path, given: str, tokens: list[str]) -> None:
    """faults P2: `docker --env-file` keeps quotes."""
    (tmp_path / "tokens").write_text("\n".join(given.split(",")))
    (tmp_path / "server_tokens").write_text(given)
    wanted = [hashlib.sha256(token.encode()).hexdigest() for token in tokens]
    for environ in (
        {"SERVER_TOKENS": given},
        {"SERVER_TOKENS_FILE": '"tokens"'},
        {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    ):
        found = load_config(Flags(), environ, tmp_path).callers
        if environ != {"SERVER_TOKENS_FILE": '"tokens"'} or given != '"one,two"':
            assert [each.token_sha256 for each in found] == wanted


@pytest.mark.parametrize("given", ['"one', "one'", 'two,"one', '"'])
def test_half_a_pair_of_quotes_is_told(tmp_path: Path, given: str) -> None:
    """faults P2."""
    (problem,) = problems(tmp_path, "", {"SERVER_TOKENS": given})
    assert "must not begin or end with a quote" in problem.what


@pytest.mark.parametrize("place", ["environment", "file", "credential", ".env"])
def test_the_key_loses_one_pair_of_quotes_too(tmp_path: Path, place: str) -> None:
    """faults P2: a key in quotes is sent with them."""
    quoted = '"sk-or-v1-abc"'
    (tmp_path / "openrouter_api_key").write_text(quoted)
    if place == ".env":
        (tmp_path / ".env").write_text(f"OPENROUTER_API_KEY='{quoted}'\n")
    environ = {
        "environment": {"OPENROUTER_API_KEY": quoted},
        "file": {"OPENROUTER_API_KEY_FILE": "openrouter_api_key"},
        "credential": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    }.get(place, {})
    key = load_config(Flags(), environ, tmp_path).upstream.api_key
    assert key is not None
    assert key.get_secret_value() == "sk-or-v1-abc"
    (problem,) = problems(tmp_path, "", {"OPENROUTER_API_KEY": quoted[1:]})
    assert "must not begin or end with a quote" in problem.what
    assert "sk-or" not in str(problem)


def test_quotes_around_any_variable_are_no_part_of_it(tmp_path: Path) -> None:
    """faults P2."""
    environ = {"PORT": '"81"', "HOST": "'127.0.0.1'", "CORS_ORIGINS": '"https://a,https://b"', "X_TITLE": '""'}
    config = load_config(Flags(), environ, tmp_path)
    assert (config.server.port, config.server.host, config.upstream.x_title) == (81, "127.0.0.1", None)
    assert config.server.cors_origins == ("https://a", "https://b")


def test_a_table_may_have_the_name_that_its_plain_token_had(tmp_path: Path) -> None:
    """break-it 3: so a plain token that gets limits keeps its figures."""
    (plain,) = callers_of(tmp_path, "one")
    (tmp_path / "config.toml").write_text(table(name=plain.name, more="max_concurrent = 1"))
    assert load_config(Flags(), {}, tmp_path).callers == (replace(plain, max_concurrent=1),)


def test_names_stay_while_tokens_that_are_alike_come_and_go() -> None:
    """break-it 3: nobody gets a name that another token had before."""
    first, second = Caller(f"token-{FIRST[:8]}", FIRST), Caller(f"token-{SECOND[:8]}", SECOND)
    ann = Caller("ann", HASH)
    both = Caller(f"token-{FIRST[:9]}", FIRST), Caller(f"token-{SECOND[:9]}", SECOND)
    longer = Caller(f"token-{SECOND[:9]}", SECOND)
    assert keep_names([first], both) == (first, longer)
    assert keep_names([first, longer], [ann, second]) == (ann, longer)
    assert keep_names([first], [second]) == (longer,)
    assert keep_names([ann], [second, replace(ann, admin=True)]) == (second, replace(ann, admin=True))


def test_without_callers_there_is_the_one_on_this_machine() -> None:
    assert Config().callers == ()
    assert Config().caller_named("local") is LOCAL


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (table(token_sha256=HASH[:40]), "callers[0].token_sha256: must have 64 hexadecimal digits, and has 40"),
        (table(token_sha256=HASH + "0"), "callers[0].token_sha256: must have 64 hexadecimal digits, and has 65"),
        (table(token_sha256="hush-a-token"), "callers[0].token_sha256: must be the SHA-256 of the token"),
        (table(token_sha256=hashlib.sha256(b"").hexdigest()), "is the SHA-256 of nothing"),
        (table(token_sha256=""), "callers[0].token_sha256: is missing"),
        ('[[callers]]\nname = "x"', "callers[0].token_sha256: is missing; `openrouter-server new-token NAME`"),
        (f'[[callers]]\ntoken_sha256 = "{HASH}"', "callers[0].name: is missing"),
        (table(name="\\u0007"), "callers[0].name"),
        (table(name="x" * 65), "must be 1 to 64 printable characters"),
        (table(name="token-0123abcd"), "is the name of another token, made of the first digits of its SHA-256"),
        (table(name=f"token-{HASH[:8].upper()}"), "is the name of another token"),
        (table(name="local"), 'callers[0].name = "local": is the server\'s own word'),
        (table(more="requests_per_minute = 0"), "= 0: must be a whole number, at least 1"),
        (table(more="max_concurrent = 1.5"), "= 1.5: must be a whole number, at least 1"),
        (table(more='budget_usd_per_day = "5"'), '= "5": must be a number, at least 0'),
        (table(more="requests_per_minute = 1000000000000000000000000000000"), "at least 1, at most 1000000"),
        (table(more="max_concurrent = 1000001"), "at least 1, at most 1000000"),
        (table(more="max_concurrent = -1"), "at least 1, at most 1000000"),
        (table(more="budget_usd_per_day = 1e300"), "must be a number, at least 0, at most 1000000"),
        (table(more="budget_usd_per_day = -1"), "must be a number, at least 0, at most 1000000"),
        (table(more="budget_usd_per_day = nan"), "must be a number, at least 0, at most 1000000"),
        (table(name="a\\u001b[2J"), "must be 1 to 64 printable characters"),
        (table(name="x" * 10_000), "must be 1 to 64 printable characters"),
        (table(name="\\u202eeve"), "must be 1 to 64 printable characters"),
        (table(name="ann\\u200b"), "must be 1 to 64 printable characters"),
        (table(name="   "), "callers[0].name"),
        (table(more="budget_usd_per_day = inf"), "= Infinity: must be a number, at least 0"),
        (table(more='admin = "yes"'), '= "yes": must be true or false'),
        (table(more='models = "openai/*"'), '= "openai/*": must be a list of texts'),
        (table(more="models = [1]"), "callers[0].models[0] = 1: must be a list of texts"),
        (table(more="models = []"), "leave it out to allow all models"),
        (table(more='modles = ["x"]'), 'callers[0].modles = ["x"]: unknown key; did you mean models?'),
        (table(more='token = "hush"'), "callers[0].token: a token does not belong into this file"),
        ("[callers]\nname = 1", "callers: must be tables, each written as [[callers]]"),
        ("callers = [1]", "callers: must be tables, each written as [[callers]]"),
        ('[[caller]]\ntoken = "hush"', "caller: unknown section; did you mean callers?"),
    ],
)
def test_a_mistake_is_told_with_file_key_value_and_the_way_out(tmp_path: Path, toml: str, told: str) -> None:
    (problem,) = problems(tmp_path, toml)
    assert problem.where == str(tmp_path / "config.toml")
    assert told in str(problem)
    assert "hush" not in str(problem)


def test_every_mistake_is_told_at_once_doubles_in_broken_tables_too(tmp_path: Path) -> None:
    toml = table(more="max_concurrent = 0") + table(name="phone") + table(token_sha256=OTHER, more="admin = 1")
    found = problems(tmp_path, toml, {"SERVER_TOKENS": "three four,two"})
    assert sorted(str(problem.key) for problem in found) == [
        "callers[0].max_concurrent",
        "callers[1].name",
        "callers[1].token_sha256",
        "callers[2].admin",
        "callers[2].name",
        "tokens",
        "tokens[1].token_sha256",
    ]
    assert "is the token of callers[2]" in str(next(p for p in found if p.key == "tokens[1].token_sha256"))
    assert "is the name of callers[0]" in str(next(p for p in found if p.key == "callers[2].name"))


def test_the_line_of_a_broken_token_file_is_named_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("fine\nhush hush\nhüsh\n")
    found = problems(tmp_path, environ={"SERVER_TOKENS_FILE": "tokens"})
    assert [problem.what.partition(" must")[0] for problem in found] == ["token 2", "token 3"]
    assert all(str(tmp_path / "tokens") in problem.where for problem in found)
    assert "hush" not in str(found)


def test_check_config_shows_callers_and_their_limits_but_nothing_of_their_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = 'models = ["a/*"]\nbudget_usd_per_day = 0\nadmin = true'
    (tmp_path / "config.toml").write_text(table(more=limits))
    assert check_config(Flags(sandbox=True), {"SERVER_TOKENS": "two"}, tmp_path) == 0
    out = capsys.readouterr().out
    shown = '{name = "phone", models = ["a/*"], budget_usd_per_day = 0.0, admin = true}'
    assert f"callers[0] = {shown}  # {tmp_path / 'config.toml'}\n" in out
    assert f'callers[1] = {{name = "token-{OTHER[:8]}"}}  # environment variable SERVER_TOKENS\n' in out
    assert HASH[:8] not in out
    assert OTHER[8:] not in out


@pytest.mark.parametrize("name", ["phone", 'Ann "the" B\\C', "Büro 日本", "a]]\t"])
def test_new_token_prints_a_token_and_the_table_that_lets_it_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["new-token", name]) == 0
    out = capsys.readouterr().out
    (token,) = re.findall(r"^orsse_[A-Za-z0-9_-]{43}$", out, re.MULTILINE)
    (tmp_path / "config.toml").write_text(out[out.index("[[callers]]") :])
    (caller,) = load_config(Flags(), {}, tmp_path).callers
    assert caller == Caller(name.strip(), hashlib.sha256(token.encode()).hexdigest())
    assert out.count(token) == 1


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "token-0123abcd", "local", "x" * 65, "\udcff"])
def test_new_token_refuses_a_name_that_no_table_may_have(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["new-token", name]) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("NAME ")


def test_two_tokens_are_never_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-token", "a"]) == main(["new-token", "a"]) == 0
    tokens = re.findall(r"^orsse_\S+$", capsys.readouterr().out, re.MULTILINE)
    assert len(set(tokens)) == 2


def test_the_example_in_config_toml_is_right_once_it_is_switched_on(tmp_path: Path) -> None:
    text = (ROOT / "config.toml").read_text()
    example = "\n".join(line[2:] for line in text[text.index("# [[callers]]") :].splitlines())
    tomllib.loads(example)
    (tmp_path / "config.toml").write_text(example.replace("…", HASH))
    (caller,) = load_config(Flags(), {}, tmp_path).callers
    assert (caller.name, caller.admin, caller.max_concurrent) == ("phone", True, 4)
