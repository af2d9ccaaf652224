"""`[[callers]]` of `config.toml`, and the plain tokens of the environment: who may call.

Only hashes get past this module: a token given in the clear is hashed here and then forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from client.config import MOST_AT_ONCE, QUOTES, Section, unquoted
from server.access.callers import ANYONE, LOCAL, Caller
from server.access.tokens import hash_token, may_be_named, names_of_tokens
from server.config.layers import Found
from server.config.problems import ConfigProblem, expected, nearest_key, shown

_HASH_DIGITS = 64
_MAX_NAME = 64
_MOST_USD = 1_000_000
_EMPTY_SHA256 = hash_token("")
_NAME_OF_ANOTHER = "is the name of another token, made of the first digits of its SHA-256; choose another name"
_WAY_OUT = "`openrouter-server new-token NAME` prints a token and what belongs here"


def check_name(name: str) -> str:
    """A name that can stand in a line of a log.

    Raises:
        ValueError: it cannot, or belongs to a caller that the server has already.
    """
    if not name.isprintable() or not name.strip() or len(name) > _MAX_NAME:
        raise ValueError(f"must be 1 to {_MAX_NAME} printable characters, not only spaces")
    if name in (LOCAL.name, ANYONE.name):
        raise ValueError("is the server's own word for a caller without a token; choose another name")
    return name


def _check_hash(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f]*", text):
        raise ValueError(
            f"must be the SHA-256 of the token, {_HASH_DIGITS} hexadecimal digits, not the token itself; {_WAY_OUT}"
        )
    if len(text) != _HASH_DIGITS:
        raise ValueError(f"must have {_HASH_DIGITS} hexadecimal digits, and has {len(text)}; {_WAY_OUT}")
    if text.lower() == _EMPTY_SHA256:
        raise ValueError(f"is the SHA-256 of nothing, so that no token would be needed; {_WAY_OUT}")
    return text.lower()


def _check_globs(globs: tuple[str, ...]) -> tuple[str, ...]:
    if not globs or not all(glob.strip() for glob in globs):
        raise ValueError('must name models or globs such as "openai/*"; leave it out to allow all models')
    return globs


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class CallerTable(Section):
    """One `[[callers]]`; a limit that is left out is none."""

    name: Annotated[str, AfterValidator(check_name)]
    """Stands in logs and in what was spent."""
    token_sha256: Annotated[str, AfterValidator(_check_hash)]
    """SHA-256 of the caller's token, 64 hexadecimal digits."""
    models: Annotated[tuple[str, ...] | None, BeforeValidator(_as_tuple), AfterValidator(_check_globs)] = None
    """Globs of the models that may be asked for."""
    requests_per_minute: Annotated[int | None, Field(ge=1, le=MOST_AT_ONCE)] = None
    """Answers started in a minute."""
    max_concurrent: Annotated[int | None, Field(ge=1, le=MOST_AT_ONCE)] = None
    """Answers that run at once."""
    budget_usd_per_day: Annotated[float | None, Field(ge=0, le=_MOST_USD)] = None
    """USD by the UTC day."""
    admin: bool = False
    """Sees what all callers spend."""

    def to_caller(self) -> Caller:
        """The caller that this table describes."""
        budget = self.budget_usd_per_day
        return Caller(
            name=self.name,
            token_sha256=self.token_sha256,
            models=self.models or (),
            requests_per_minute=self.requests_per_minute,
            max_concurrent=self.max_concurrent,
            budget_usd_per_day=None if budget is None else Decimal(str(budget)),
            admin=self.admin,
        )


def find_callers(
    tables: Found | None, tokens: Found | None, problems: list[ConfigProblem]
) -> list[tuple[Caller, str]]:
    """Everybody who may call, each with the place that says so."""
    claims: list[_Claim] = []
    found: list[tuple[Caller, str]] = []
    if tables is not None:
        found += [(caller, tables.source) for caller in _callers_of_tables(tables, claims, problems)]
    if tokens is not None:
        found += [(caller, tokens.source) for caller in _callers_of_tokens(tokens, claims, problems)]
    problems += _find_doubles(claims)
    return found


@dataclass(frozen=True, slots=True)
class _Claim:
    """A name and a token that somebody is to have, right or not.

    Attributes:
        key: what names it in messages: `callers[0]`.
        where: the place it comes from.
        token_sha256: in lower case.
    """

    key: str
    where: str
    name: str
    token_sha256: str


def _callers_of_tables(found: Found, claims: list[_Claim], problems: list[ConfigProblem]) -> list[Caller]:
    """The callers of a `config.toml`."""
    if not isinstance(found.value, list) or not all(isinstance(table, dict) for table in found.value):
        problems.append(ConfigProblem(found.source, "must be tables, each written as [[callers]]", "callers"))
        return []
    callers: list[Caller] = []
    for number, table in enumerate(found.value):
        key = f"callers[{number}]"
        name, token_sha256 = str(table.get("name", "")).strip(), str(table.get("token_sha256", "")).strip()
        claims.append(_Claim(key, found.source, name, token_sha256.lower()))
        try:
            callers.append(CallerTable.model_validate(table).to_caller())
        except ValidationError as exc:
            problems += [_problem(error, key, table, found.source) for error in exc.errors(include_url=False)]
            continue
        if not may_be_named(name, token_sha256.lower()):
            problems.append(ConfigProblem(found.source, _NAME_OF_ANOTHER, f"{key}.name", shown(name)))
    return callers


def _callers_of_tokens(found: Found, claims: list[_Claim], problems: list[ConfigProblem]) -> list[Caller]:
    """The callers of plain tokens, one per line or in a comma list; a caller is its token, not its place there."""
    parts = (unquoted(part) for part in re.split(r"[,\r\n]", unquoted(str(found.value))))
    tokens = list(dict.fromkeys(filter(None, parts)))
    if not tokens:
        problems.append(ConfigProblem(found.source, "holds no token", "tokens"))
    for number, token in enumerate(tokens, 1):
        if not re.fullmatch(r"[!-~]+", token):
            what = f"token {number} must be printable ASCII without spaces"
            problems.append(ConfigProblem(found.source, what, "tokens"))
        elif token.startswith(QUOTES) or token.endswith(QUOTES):
            what = f"token {number} must not begin or end with a quote; write it without quotes"
            problems.append(ConfigProblem(found.source, what, "tokens"))
    hashes = [hash_token(token) for token in tokens]
    names = names_of_tokens(hashes, taken={claim.name for claim in claims})
    callers = [Caller(name, hashed) for name, hashed in zip(names, hashes, strict=True)]
    claims += [_Claim(f"tokens[{n}]", found.source, each.name, hashes[n]) for n, each in enumerate(callers)]
    return callers


def _find_doubles(claims: Sequence[_Claim]) -> list[ConfigProblem]:
    """No two callers may share a name or a token: nobody could tell them apart."""
    problems: list[ConfigProblem] = []
    names: dict[str, _Claim] = {}
    hashes: dict[str, _Claim] = {}
    for claim in claims:
        if claim.name and (first := names.setdefault(claim.name, claim)) is not claim:
            what = f"is the name of {first.key} ({first.where}) too; every caller needs a name of its own"
            problems.append(ConfigProblem(claim.where, what, f"{claim.key}.name", shown(claim.name)))
        if claim.token_sha256 and (first := hashes.setdefault(claim.token_sha256, claim)) is not claim:
            what = f"is the token of {first.key} ({first.where}) too; {_WAY_OUT}"
            problems.append(ConfigProblem(claim.where, what, f"{claim.key}.token_sha256"))
    return problems


def _problem(error: ErrorDetails, key: str, table: dict[str, Any], where: str) -> ConfigProblem:
    name, *rest = error["loc"]
    full = f"{key}.{name}" + "".join(f"[{part}]" for part in rest if isinstance(part, int))
    field = CallerTable.model_fields.get(str(name))
    if field is None:
        return _unknown_key(full, str(name), table[str(name)], where)
    if error["type"] == "missing":
        what = f"is missing; {_WAY_OUT}"
        return ConfigProblem(where, what, full)
    what = str(error["ctx"]["error"]) if error["type"] == "value_error" else f"must be {expected(str(name), field)}"
    value = None if name == "token_sha256" else shown(error["input"])  # it may be the token itself
    return ConfigProblem(where, what, full, value)


def _unknown_key(full: str, name: str, value: object, where: str) -> ConfigProblem:
    if re.search(r"token|secret|key|password", name, re.IGNORECASE):
        what = f"a token does not belong into this file, only its SHA-256 as token_sha256; {_WAY_OUT}"
        return ConfigProblem(where, what, full, nearest="token_sha256")
    return ConfigProblem(where, "unknown key", full, shown(value), nearest_key(name, tuple(CallerTable.model_fields)))
