"""Whether an engine is one that we can work with: its version, what it does when it is full, what it lets us do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from server.shared.engine.lines import EngineRefused, Line, Word

OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
RIGHTS: Final = (
    "hello auth ping select client|setname info eval evalsha time xadd xread xrange xrevrange xtrim hset hget "
    "hmget hgetall hvals hsetnx hdel hexists hincrby zadd zrem zcard zscore zrange zrangebyscore "
    "zremrangebyscore sadd srem smembers exists del pexpire get set"
)
"""All commands that are ever sent, or called by a script."""


def acl_line(prefix: str) -> str:
    """The user that suffices, as a line of the engine's access list."""
    commands = " ".join(f"+{command}" for command in RIGHTS.split())
    return f"user NAME on >PASSWORD ~{prefix}:* resetchannels -@all {commands}"


def _probes(prefix: str) -> Sequence[Sequence[Word]]:
    """Each command once, on keys of nobody; the last one removes what they left."""
    k, z, s, h, x = (f"{prefix}:{{probe}}:{kind}" for kind in "kzshx")
    return (
        ("PING",),
        ("TIME",),
        ("EVAL", "return 1", 0),
        ("EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", 0),
        ("SET", k, 1, "PX", 1000),
        ("GET", k),
        ("EXISTS", k),
        ("PEXPIRE", k, 1000),
        ("XADD", x, "1-1", "d", ""),
        ("XREAD", "STREAMS", x, "0-0"),
        ("XRANGE", x, "-", "+", "COUNT", 1),
        ("XREVRANGE", x, "+", "-", "COUNT", 1),
        ("XTRIM", x, "MINID", "2-0"),
        ("HSET", h, "a", 1),
        ("HSETNX", h, "a", 1),
        ("HGET", h, "a"),
        ("HMGET", h, "a"),
        ("HGETALL", h),
        ("HVALS", h),
        ("HEXISTS", h, "a"),
        ("HINCRBY", h, "a", 1),
        ("HDEL", h, "a"),
        ("ZADD", z, 1, "a"),
        ("ZCARD", z),
        ("ZSCORE", z, "a"),
        ("ZRANGE", z, 0, 0),
        ("ZRANGEBYSCORE", z, 0, 1),
        ("ZREMRANGEBYSCORE", z, 0, 0),
        ("ZREM", z, "a"),
        ("SADD", s, "a"),
        ("SMEMBERS", s),
        ("SREM", s, "a"),
        ("DEL", k, z, s, h, x),
    )


async def first_look(line: Line, prefix: str) -> list[str]:
    """What speaks against working with an engine, each with the way out.

    Raises:
        EngineLost: it cannot be asked now.
    """
    try:
        server = _parsed(await line.ask("INFO", "server"))
        memory = _parsed(await line.ask("INFO", "memory"))
        replies = await line.ask_many(_probes(prefix))
    except EngineRefused as exc:
        return [f"the engine refuses us: {exc}; a user that suffices: {acl_line(prefix)}"]
    found = [*_version_problems(server), *_policy_problems(memory)]
    forbidden = [
        str(words[0]).lower()
        for words, reply in zip(_probes(prefix), replies, strict=True)
        if isinstance(reply, EngineRefused)
    ]
    if forbidden:
        found.append(
            f"the engine's access list forbids this user {', '.join(forbidden)}, or keys that begin with {prefix}:; "
            f"a user that suffices: {acl_line(prefix)}"
        )
    return found


def _parsed(info: bytes) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):(.*?)\r?$", info.decode(errors="replace"), re.MULTILINE))


def _version_problems(server: Mapping[str, str]) -> list[str]:
    flavour = "valkey" if "valkey_version" in server else "redis"
    version = server.get(f"{flavour}_version", "")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if not numbers or numbers >= OLDEST[flavour]:
        return []
    wanted = " or ".join(f"{name.title()} {major}.{minor}" for name, (major, minor) in OLDEST.items())
    return [f"the engine is {flavour.title()} {version}; {wanted}, or newer, is needed"]


def _policy_problems(memory: Mapping[str, str]) -> list[str]:
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    return [
        f"the engine drops keys when it is full (maxmemory-policy {policy}), whole answers and sums among them; "
        "set maxmemory-policy noeviction"
    ]
