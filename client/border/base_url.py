"""The address below which upstream's requests lie: what can be meant by one, and what cannot. Pure module."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_REQUESTS = re.compile(
    r"(/chat/completions|/completions|/responses|/messages|/embeddings|/models(/.*)?|/credits|/generation|/key)$",
    re.IGNORECASE,
)
"""Ends of the addresses of single requests, which people copy from examples."""
_BARE = re.compile(
    r"(?:(https?):/*)?/*(([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?)(/[^?#@\s]*)?", re.ASCII | re.IGNORECASE
)
_PATH = "/api/v1"


def check_base_url(url: str) -> str:
    """An absolute http(s) URL to which paths can be appended, without its trailing slash.

    Raises:
        ValueError: it is none; the text names the one that was probably meant, and no secret that stood in it.
    """
    if re.search(r"[\x00-\x20\x7f-\x9f]", url):
        raise ValueError("must not hold spaces or control characters")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a port that is no number
    except ValueError as exc:
        raise ValueError(f"must be a URL: {exc}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be a URL that begins with http:// or https:// and names a host{_hint(url)}")
    if what := _fault(parts, url):
        raise ValueError(f"{what}; did you mean {_meant(parts)}?")
    return url.rstrip("/")


def is_openrouter(url: str) -> bool:
    """Whether a URL is OpenRouter's own."""
    return _is_openrouters(urlsplit(url).hostname or "")


def _fault(parts: SplitResult, url: str) -> str | None:
    if "@" in parts.netloc:
        return "must not hold a user name or password; the key belongs in OPENROUTER_API_KEY"
    if "?" in url or "#" in url:
        return "must not hold a query or a fragment: paths are appended to it"
    if parts.path.rstrip("/") != _meant_path(parts):
        return "must be the address below which all requests lie: paths such as /chat/completions are appended to it"
    if parts.scheme == "http" and _is_openrouters(parts.hostname or ""):
        return "must begin with https://, or the key could be read on its way"
    return None


def _meant(parts: SplitResult) -> str:
    scheme = "https" if _is_openrouters(parts.hostname or "") else parts.scheme
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{_meant_path(parts)}"


def _meant_path(parts: SplitResult) -> str:
    path = _REQUESTS.sub("", parts.path.rstrip("/")).rstrip("/")
    return _PATH if _is_openrouters(parts.hostname or "") and path in ("", "/api", "/v1") else path


def _hint(url: str) -> str:
    """For a URL whose beginning is missing or broken."""
    match = _BARE.fullmatch(url)
    if match is None or not (match[1] or match[4] or match[3] == "localhost" or "." in match[3]):
        return ""
    is_near = match[4] or match[3] == "localhost" or not re.search("[a-z]", match[3])
    scheme = (match[1] or ("http" if is_near else "https")).lower()
    meant = urlsplit(f"{scheme}://{match[2]}{match[5] or ''}")
    return f"; did you mean {_meant(meant)}?"


def _is_openrouters(host: str) -> bool:
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")
