"""Callers: who they are, and what they may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from client.errors import Failure, Refusal
from client.models.costs import MOST_MODELS, models_of, name_of
from server.access.tokens import is_name_of_token, names_of_tokens


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may call, and within which limits; None is no limit.

    Attributes:
        name: stands in logs and in what was spent; two callers never share one.
        token_sha256: SHA-256 of the token, 64 lower-case hexadecimal digits; None for whoever needs none.
        models: globs of the models that may be asked for; empty: all.
        requests_per_minute: answers started.
        max_concurrent: answers that run.
        budget_usd_per_day: USD, by the UTC day.
        admin: sees what all callers spend.
    """

    name: str
    token_sha256: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    max_concurrent: int | None = None
    budget_usd_per_day: Decimal | None = None
    admin: bool = False

    def may_use(self, model: str) -> bool:
        """Whether one of the globs covers a model."""
        return not self.models or any(fnmatchcase(model, glob) for glob in self.models)


LOCAL = Caller("local", admin=True)
"""Whoever calls from this machine while no token is configured: the one who owns it."""
ANYONE = Caller("anyone")
"""Whoever asks for what is open to all."""


def keep_names(old: Iterable[Caller], new: Iterable[Caller]) -> tuple[Caller, ...]:
    """The new callers, of whom those that are named by their token keep the name that they had.

    Such a name has more digits while another token is like it, and that one may come or go: what a caller has begun
    stays its own, and nobody gets the name of one who was there before.
    """
    had = {each.token_sha256: each.name for each in old if is_name_of_token(each.name)}
    new = tuple(new)
    by_token = [each.token_sha256 for each in new if is_name_of_token(each.name)]
    fresh = [token_sha256 for token_sha256 in by_token if token_sha256 and token_sha256 not in had]
    names = had | dict(zip(fresh, names_of_tokens(fresh, taken=set(had.values())), strict=True))
    return tuple(
        replace(each, name=names[each.token_sha256]) if is_name_of_token(each.name) else each for each in new
    )


_ASKING_OTHERS = frozenset(
    {"openrouter:advisor", "openrouter:subagent", "openrouter:fusion", "openrouter:image_generation", "fusion"}
)

_MOST_TOOLS = 10_000
_MOST = {"models": MOST_MODELS, "fallbacks": MOST_MODELS, "tools": _MOST_TOOLS, "plugins": _MOST_TOOLS}
"""What a caller that is held to its models may send of each kind: all of them are looked at."""


def check_models(caller: Caller, body: Mapping[str, Any]) -> None:
    """Holds the request that goes upstream to the caller's models: `model`, `models`, and those that tools ask.

    Raises:
        Refusal: 403, naming the first model that is not allowed and the globs that are.
    """
    if not caller.models:
        return
    for name, most in _MOST.items():
        if isinstance(listed := body.get(name), list) and len(listed) > most:
            raise _forbidden(
                f"{caller.name} may send at most {most} {name} in a request; this one has {len(listed)}."
            )
    for model in _models_of(body):
        if not caller.may_use(model):
            allowed = ", ".join(caller.models)
            raise _forbidden(f"{caller.name} may not use {model[:200]}; allowed: {allowed}.")


def _forbidden(error: str) -> Refusal:
    return Refusal(Failure(error=error, type="forbidden", status=403, retryable=False))


def _models_of(body: Mapping[str, Any]) -> Iterator[str]:
    """The models that may answer, and those that OpenRouter's own tools and plugins are told to ask.

    A preset may name any model: it counts as `@preset/slug`, whether it is a field or stands behind a model. Tools
    and plugins that ask a model which the request does not name count by their type or id.
    """
    for model in models_of(body) or ["None"]:
        name, at, preset = model.partition("@preset/")
        yield from [name] * bool(name) + [at + preset] * bool(at)
    if body.get("preset") is not None:
        yield f"@preset/{name_of(body['preset'])}"
    for kind in ("tools", "plugins"):
        listed = body.get(kind)
        for each in listed if isinstance(listed, list) else ():
            if isinstance(each, dict) and each.get("type") != "function":
                yield from _models_of_tool(each)


def _models_of_tool(tool: Mapping[str, Any]) -> Iterator[str]:
    parameters = tool.get("parameters")
    named = [*_models_named(tool), *(_models_named(parameters) if isinstance(parameters, dict) else [])]
    yield from named
    name = name_of(tool.get("type") or tool.get("id"))
    if name in _ASKING_OTHERS and not named:
        yield name


def _models_named(tool: Mapping[str, Any]) -> Iterator[str]:
    for name in ("model", "models", "analysis_models", "pin_model"):
        value = tool.get(name)
        yield from (name_of(item) for item in (value if isinstance(value, list) else [value]) if item)
    if tool.get("preset") is not None:
        yield f"@preset/{name_of(tool['preset'])}"
