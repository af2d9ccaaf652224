"""A stand-in for OpenRouter: a real server on a loopback port that speaks its wire format.

It serves the product's `--sandbox`, `python -m client.sandbox`, and the tests, which script its faults:

    async with open_sandbox() as sandbox:              # sandbox.base_url: http://127.0.0.1:PORT/api/v1
        go_on = asyncio.Event()
        sandbox.script(
            Reply.error(429, "Slow down", headers={"Retry-After": "1"}),
            Reply.stream(COMMENT, chunk({"content": "Hel"}), Hold(go_on), b"data: not json\\n\\n", HangUp()),
        )
        ...                                            # the next two POST /chat/completions get these
        call = await sandbox.wait_call(1)              # or sandbox.calls[1]
        await call.closed.wait()                       # reply over, or the caller left
        assert call.cancelled and call.json["model"] == "sandbox/echo"

Replies
    `Reply(steps, status=200, headers={}, content_type="text/event-stream", before=())`, or
    `Reply.stream(*steps)`, `Reply.json(value, status, headers)`,
    `Reply.error(status, message, metadata, headers)`, `Reply.raw(body, status, headers, content_type=…)`;
    `reply.after(*steps)` delays the head.
Steps
    `bytes` as they are (one write each), a mapping as one `data:` event, `Pause(delay_s)`, `Hold(event)`,
    `Mark(event)` (tells the test that everything before it went out), `HangUp(reset=False)`.
Pieces
    `chunk(delta, finish_reason, **top_level)` builds a chunk; `COMMENT`, `DONE`, `PADDING` are bytes.
Scripting
    `sandbox.script(*replies, path="/chat/completions")` queues; `sandbox.script_always(reply, path=…)`
    stands until `sandbox.clear_scripts()`. Any route can be scripted: `/messages`, `/responses`, `/models`,
    `/model/a/b`, `/models/a/b/endpoints`, `/generation`, `/key`. A route with no script left behaves as usual.
Record
    `sandbox.requests` (all routes) and `sandbox.calls` (answers) hold `Call`s: `method`, `path`, `query`,
    `headers`, `body`, `json`, `generation_id`; events `started`, `closed`; flags `completed`,
    `cancelled`, `hung_up`; `closed_at_s`, `bytes_sent`.

Protocols
    `/chat/completions`, Anthropic's `/messages`, OpenAI's `/responses`, the older `/completions`, and `/embeddings`,
    as OpenRouter speaks them.
Models
    What no script answers, the models do: see `client.sandbox.models.catalogue`, or `GET /models`, for what each is
    for, and `client.sandbox.models.order.Knobs` for the body field `sandbox` that sets pace and lengths. `settle_s`
    of `open_sandbox` says how long `/generation` answers 404 after an answer's end (1 s, 0 in tests).

Nothing here needs a key, and any `Authorization` is accepted.
"""

from client.sandbox.calls import Call
from client.sandbox.frames import COMMENT, DONE, PADDING, chunk
from client.sandbox.script import HangUp, Hold, Mark, Pause, Reply, Step
from client.sandbox.server import create_sandbox_app, open_sandbox
from client.sandbox.state import Sandbox

__all__ = [
    "COMMENT",
    "DONE",
    "PADDING",
    "Call",
    "HangUp",
    "Hold",
    "Mark",
    "Pause",
    "Reply",
    "Sandbox",
    "Step",
    "chunk",
    "create_sandbox_app",
    "open_sandbox",
]
