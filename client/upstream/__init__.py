"""The only place that talks to OpenRouter, and what is sent there.

openrouter             requests, their limits of time, failures
tap, reply_kind        the bytes of a reply, as they come
request, upload, retry what is sent, how, and when again
proxies, aiohttp_errors  the way there, and how it fails
tracing                a caller's trace, which goes on to upstream

May use `translation`, for what upstream says, and what is below it; knows no stream.
"""
