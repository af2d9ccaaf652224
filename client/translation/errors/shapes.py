"""Finding the error in a JSON value of upstream's, whatever it is wrapped in. Pure module.

OpenRouter and most others say `{"error": {"code", "message", …}}`. There are also an `error` that is a text or a
list, `errors`, `{"type": "error"}`, `{"object": "error"}`, a bare `{"code", "message"}`, `{"detail"}`, a list around
any of them, and a name of an exception around its message.
"""

from __future__ import annotations

from typing import Any, Final

from client.border.fit import number_of
from client.translation.errors.words import is_error_word

MESSAGES: Final = (
    *("message", "msg", "detail", "error_msg", "error_message", "errorMessage", "Message", "status_msg"),
    *("error_description", "description", "title", "reason"),
)
"""Fields that hold the sentence for a person, the best first."""

CODES: Final = (
    *("code", "error_code", "errorCode", "Code", "status_code", "statusCode", "http_status", "httpStatus"),
    *("httpCode", "__type"),
)
"""Fields that hold a number or a word for the error, the best first."""

_WORDS = ("type", "status", "error_type")
_OF_AN_ANSWER = ("choices", "usage", "delta", "output", "data")
_BESIDE_A_MESSAGE = frozenset(
    {
        *(
            *MESSAGES,
            *CODES,
            *_WORDS,
            "request_id",
            "requestId",
            "RequestId",
            "trace_id",
            "traceId",
            "id",
            "timestamp",
        ),
        *("path", "instance", "param", "documentation_url", "metadata", "availability", "success", "object"),
    }
)
_NO_ERRORS = frozenset({"", "0", "200", "ok", "success", "succeeded", "none", "null"})
_DEEPEST = 3


def is_error(value: Any) -> bool:
    """Whether the value of a field `error` states one: `{}` is an error that says nothing; null, false, an empty text
    or list, and 0 are none."""
    return value is not None and value is not False and value != "" and value != [] and value != 0


def error_in(found: Any, depth: int = 0) -> Any:
    """The error that a value states; None when it states none, or only perhaps (`bare_message_in`)."""
    if isinstance(found, list):
        return error_in(found[0], depth + 1) if found and depth < _DEEPEST else None
    if not isinstance(found, dict):
        return None
    for field in ("error", "errors"):
        if is_error(found.get(field)):
            return _with_companions(found[field], found)
    if _calls_itself_an_error(found):
        return found
    return _exception_in(found) or _base_response_in(found)


def bare_message_in(found: Any) -> Any:
    """What may be an error when nothing better follows: an object that holds a message and nothing of an answer."""
    if not isinstance(found, dict) or not _message_of(found) or not set(found) <= _BESIDE_A_MESSAGE:
        return None
    kind = found.get("type")
    if isinstance(kind, str) and "/" not in kind and kind != "about:blank" and not is_error_word(kind):
        return None
    return found if all(_may_be_an_error(found[name]) for name in (*CODES, "status") if name in found) else None


def as_object(error: Any, depth: int = 0) -> dict[str, Any]:
    """An error of any form as an object whose `message` is a text, if there is one at all."""
    if isinstance(error, str):
        return {"message": error}
    if isinstance(error, list):
        return _joined(error, depth)
    if not isinstance(error, dict):
        return {}
    message = _message_of(error)
    if isinstance(message, (dict, list)) and depth < _DEEPEST:
        return {**as_object(message, depth + 1), **{name: error[name] for name in error if name not in MESSAGES}}
    inner = error.get("error")
    if not message and is_error(inner) and depth < _DEEPEST:
        return {**{name: error[name] for name in error if name != "error"}, **as_object(inner, depth + 1)}
    return {**error, "message": message} if isinstance(message, str) else error


def _message_of(found: dict[str, Any]) -> Any:
    return next((found[name] for name in MESSAGES if found.get(name) and _is_message(found[name])), None)


def _is_message(value: Any) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and bool(value.strip()))


def _with_companions(error: Any, around: dict[str, Any]) -> dict[str, Any]:
    """The error with what stands beside it: some give only the message inside, or only the code."""
    inner = as_object(error)
    missing = ["error_type"]
    if not any(name in inner for name in (*CODES, "status")):
        missing += [*CODES, "status"]
    if not inner.get("message"):
        missing += MESSAGES
    return as_object({**{name: around[name] for name in missing if name in around}, **inner})


def _calls_itself_an_error(found: dict[str, Any]) -> bool:
    if any(found.get(name) for name in _OF_AN_ANSWER):
        return False
    words = [found.get(name) for name in ("object", "type", "status")]
    if any(isinstance(word, str) and word.lower() == "error" for word in words):
        return True
    if not _message_of(found):
        return False
    if found.get("success") is False:
        return True
    stated = [found[name] for name in CODES if found.get(name) is not None]
    if stated:
        return all(_may_be_an_error(value) for value in stated)
    return any(isinstance(found.get(name), str) and is_error_word(found[name]) for name in _WORDS)


def _may_be_an_error(code: Any) -> bool:
    """Zero and 2xx mean success, and so do some words."""
    if isinstance(code, str) and code.strip().lower() in _NO_ERRORS:
        return False
    number = number_of(code)
    if number is not None:
        return number != 0 and not 100 <= number < 400
    return code is not None and code is not True


def _exception_in(found: dict[str, Any]) -> Any:
    """Amazon's: `{"throttlingException": {"message": …}}`."""
    for name, value in found.items():
        if name.endswith(("Exception", "Error")) and isinstance(value, dict):
            return {"type": name, **value}
    return None


def _base_response_in(found: dict[str, Any]) -> Any:
    """MiniMax's: `{"base_resp": {"status_code": 1004, "status_msg": …}}`."""
    response = found.get("base_resp")
    is_failed = isinstance(response, dict) and _may_be_an_error(response.get("status_code"))
    return response if is_failed and not found.get("choices") else None


def _joined(errors: list[Any], depth: int) -> dict[str, Any]:
    """The first of several, with the messages of all."""
    each = [as_object(error, depth + 1) for error in errors[:5]] if depth < _DEEPEST else []
    each = [error for error in each if error]
    if not each:
        return {}
    messages = [str(error["message"]) for error in each if isinstance(error.get("message"), str)]
    return {**each[0], "message": "; ".join(dict.fromkeys(messages))}
