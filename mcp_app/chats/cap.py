"""What an answer may cost: told before, and kept to by the number of tokens it may have. Pure module.

An answer is reckoned at the most that it may cost. Where that is more than is allowed and the caller named no limit
of tokens, it gets as many as are allowed for; where the caller did, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from client.models.costs import Known, Reckoning, nano_usd, reckon, usd
from mcp_app.results.failures import ToolFailure

_LEAST_TOKENS: Final = 16
"""Some endpoints refuse a smaller limit."""
_MOST_TOKENS: Final = 10**7


@dataclass(frozen=True, slots=True)
class Cap:
    """So much may be spent.

    Attributes:
        nano: nano-USD.
        name: what set it, for the model to read.
    """

    nano: int
    name: str


def smallest_cap(max_cost_usd: float | None, left_nano: int | None) -> Cap | None:
    """What holds of a call's own limit and of what is left of the process's budget."""
    asked_nano = nano_usd(max_cost_usd)
    caps = [] if asked_nano is None else [Cap(asked_nano, "max_cost_usd")]
    if left_nano is not None:
        caps.append(Cap(max(left_nano, 0), "what is left of the user's budget for this server (MCP_BUDGET_USD)"))
    return min(caps, key=lambda cap: cap.nano, default=None)


def shares(bodies: Sequence[Mapping[str, Any]], cap: Cap, known: Known) -> list[Cap]:
    """One cap for several answers, divided: who needs less than an equal part leaves the rest to the others."""
    needed = [reckon(body).nano_usd(known) for body in bodies]
    parts = [0] * len(bodies)
    left_nano = cap.nano
    for place, number in enumerate(sorted(range(len(bodies)), key=needed.__getitem__)):
        parts[number] = min(needed[number], left_nano // (len(bodies) - place))
        left_nano -= parts[number]
    return [Cap(nano, cap.name if len(bodies) == 1 else f"its part of {cap.name}") for nano in parts]


def capped(body: Mapping[str, Any], cap: Cap, known: Known) -> tuple[dict[str, Any], bool]:
    """The body of an answer that costs no more, and whether its tokens had to be limited for that.

    Raises:
        ToolFailure: even a short answer would cost more, or the caller's own limit allows one that does.
    """
    reckoning = reckon(body)
    most_nano = reckoning.nano_usd(known)
    if most_nano <= cap.nano:
        return dict(body), False
    thought = _thought(body)
    limited = reckon({**body, "max_tokens": _MOST_TOKENS})  # the limit is a part of what is sent, and so of its price
    tokens = _affordable(limited, cap.nano, known) - thought
    if tokens < _LEAST_TOKENS:
        asked_nano = limited._replace(asked_tokens=_LEAST_TOKENS + thought).nano_usd(known)
        raise _over(
            cap, f"the question alone, with {_LEAST_TOKENS} tokens of answer, may cost {_shown(asked_nano)} USD"
        )
    if reckoning.asked_tokens is not None:
        raise _over(
            cap,
            f"with this max_tokens the answer may cost {_shown(most_nano)} USD; {tokens} tokens are allowed for",
        )
    return {**body, "max_tokens": tokens}, True


def _over(cap: Cap, said: str) -> ToolFailure:
    return ToolFailure(
        f"Not sent: {said}, and {cap.name} is {_shown(cap.nano)} USD. Use a cheaper model (search_models, get_model "
        "with prompt_tokens and completion_tokens tells a price), a shorter question, a smaller max_tokens, or ask "
        "the user for more."
    )


def _affordable(reckoning: Reckoning, cap_nano: int, known: Known) -> int:
    """The most tokens of answer that keep to the cap; 0 when none do. What it costs grows with them."""
    low, high = 0, _MOST_TOKENS
    while low < high:
        middle = (low + high + 1) // 2
        if reckoning._replace(asked_tokens=middle).nano_usd(known) <= cap_nano:
            low = middle
        else:
            high = middle - 1
    return low


def _thought(body: Mapping[str, Any]) -> int:
    """Tokens of thinking that are reckoned beside the answer's."""
    reasoning = body.get("reasoning")
    tokens = reasoning.get("max_tokens") if isinstance(reasoning, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else 0


def _shown(nano: int) -> str:
    """USD with as many digits as there are, two at least."""
    text = f"{usd(max(nano, 0)):.9f}".rstrip("0")
    return text + "0" * (2 - len(text.partition(".")[2]))
