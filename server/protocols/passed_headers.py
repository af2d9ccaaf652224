"""What of a request's head goes on to OpenRouter: what names the application and the session, nothing of the caller.

The settings fill what is missing. Credentials, cookies, and what SDKs say of themselves stay here. Pure module.
"""

from __future__ import annotations

from collections.abc import Mapping

from client.border.fit import header_value

_NAMES = {name.lower(): name for name in ("HTTP-Referer", "X-Title", "x-session-id", "x-anthropic-beta")}
_OF_PROTOCOLS = {"messages": ("anthropic-version", "anthropic-beta")}
"""Names that go on, too, where the body goes on in the protocol's own words."""
_TITLES = ("X-Title", "X-OpenRouter-Title")
_OPENROUTERS = "x-openrouter-"
_OF_WORDS = {"openrouter": "OpenRouter"}
_MOST, _LONGEST = 32, 2000


def passed_headers(headers: Mapping[str, str], upstream_protocol: str = "chat") -> dict[str, str]:
    """The headers that go on, each once, spelled as the settings' own are."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lowered = name.lower()
        known = _NAMES.get(lowered)
        if known is None:
            if not lowered.startswith(_OPENROUTERS):  # as most
                continue
            known = _openrouters(lowered)
        fit = header_value(value, _LONGEST)
        if fit and known not in found and len(found) < _MOST:
            found[known] = fit
    for name in _OF_PROTOCOLS.get(upstream_protocol, ()):
        if fit := header_value(headers.get(name), _LONGEST):
            found[name] = fit
    if not found:
        return found
    title = next((found[name] for name in _TITLES if name in found), None)
    return found if title is None else {**dict.fromkeys(_TITLES, title), **found}


def _openrouters(name: str) -> str:
    """`x-openrouter-title` as `X-OpenRouter-Title`: a name in two spellings would go out twice."""
    return "-".join(_OF_WORDS.get(word, word.capitalize()) for word in name.split("-"))
