"""Addresses of upstream as people write them, and what is said to those that cannot be meant."""

from __future__ import annotations

import pytest

from client.border.base_url import check_base_url, is_openrouter

OURS = "https://openrouter.ai/api/v1"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        (OURS, OURS),
        (f"{OURS}/", OURS),
        (f"{OURS}///", OURS),
        ("HTTPS://openrouter.ai/api/v1", "HTTPS://openrouter.ai/api/v1"),
        ("https://openrouter.ai/api/alpha", "https://openrouter.ai/api/alpha"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://gateway.example/keys/models-of-mine", "https://gateway.example/keys/models-of-mine"),
    ],
)
def test_an_address_that_can_be_meant_is_taken(url: str, meant: str) -> None:
    assert check_base_url(url) == meant


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        (f"{OURS}/chat/completions", OURS),
        (f"{OURS}/chat/completions/", OURS),
        (f"{OURS}/models", OURS),
        (f"{OURS}/models/openai/gpt-4o/endpoints", OURS),
        ("https://openrouter.ai/api/v1/Chat/Completions", OURS),
        (f"{OURS}/chat/completions?x=hush", OURS),
        (f"{OURS}?key=hush", OURS),
        (f"{OURS}#hush", OURS),
        ("https://me:hush@openrouter.ai/api/v1", OURS),
        ("https://openrouter.ai", OURS),
        ("https://openrouter.ai/", OURS),
        ("https://openrouter.ai/api", OURS),
        ("https://openrouter.ai/v1", OURS),
        ("http://openrouter.ai/api/v1", OURS),
        ("openrouter.ai/api/v1", OURS),
        ("openrouter.ai", OURS),
        ("//openrouter.ai/api/v1", OURS),
        ("https:/openrouter.ai/api/v1", OURS),
        ("https:openrouter.ai/api/v1", OURS),
        ("https://eu.openrouter.ai", "https://eu.openrouter.ai/api/v1"),
        ("http://127.0.0.1:11434/v1/responses", "http://127.0.0.1:11434/v1"),
        ("http://me:hush@localhost:4000/v1/embeddings", "http://localhost:4000/v1"),
        ("localhost:11434/v1", "http://localhost:11434/v1"),
        ("localhost", "http://localhost"),
        ("127.0.0.1:11434/v1/chat/completions", "http://127.0.0.1:11434/v1"),
        ("10.0.0.1/v1", "http://10.0.0.1/v1"),
        ("[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("gpu-box:8000", "http://gpu-box:8000"),
        ("api.example.org/v1", "https://api.example.org/v1"),
    ],
)
def test_faults_p1_an_address_that_cannot_be_meant_is_refused_with_the_right_one(url: str, meant: str) -> None:
    with pytest.raises(ValueError, match=r"; did you mean (.*)\?$") as caught:
        check_base_url(url)
    assert str(caught.value).endswith(f"; did you mean {meant}?")
    assert "hush" not in str(caught.value)
    assert check_base_url(meant) == meant


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "https://", "openrouter", "x y", "mailto:me@x", "://", "/", "https://[::1/", ""]
)
def test_what_is_no_address_is_refused_without_a_guess(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_base_url(url)


def test_only_openrouters_own_hosts_are_its_own() -> None:
    assert is_openrouter(OURS)
    assert is_openrouter("https://eu.openrouter.ai/api/v1")
    assert not is_openrouter("https://openrouter.ai.example/api/v1")
    assert not is_openrouter("https://notopenrouter.ai/api/v1")
