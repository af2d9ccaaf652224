"""What the routes answer in JSON, as types: the API document is made of them.

Objects that are upstream's stay plain dicts; the errors are `client.errors.Failure`. No code.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from client.errors import Failure

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


class FunctionCall(TypedDict):
    """The function a model wants to be called."""

    name: str
    arguments: Annotated[str, Meta(description="JSON, as text.")]


class ToolCallReply(TypedDict):
    """A tool call in OpenAI's shape, ready to be sent back."""

    index: int
    id: str
    type: Literal["function"]
    function: FunctionCall
    complete: NotRequired[
        Annotated[bool, Meta(description="Only there, and false, when its JSON was cut: do not run it.")]
    ]


class AnswerUsage(TypedDict, total=False):
    """OpenRouter's usage object, whole, and what this server measured."""

    prompt_tokens: Annotated[Any, Meta(description="OpenRouter's count.")]
    completion_tokens: Annotated[Any, Meta(description="OpenRouter's count.")]
    total_tokens: Annotated[Any, Meta(description="OpenRouter's count.")]
    cost: Annotated[Any, Meta(description="USD, as OpenRouter charges it.")]
    generation_id: str | None
    model: str | None
    provider: str | None
    total_cost: Annotated[float | None, Meta(description="USD, own-key charges included.")]
    duration_ms: int
    time_to_first_token_ms: int | None
    tokens_per_second: float | None
    settled: Annotated[bool, Meta(description="Whether OpenRouter itself has stated the cost.")]


class ChatReply(TypedDict):
    """A whole answer."""

    id: Annotated[str | None, Meta(description="OpenRouter's generation id.")]
    model: str | None
    provider: str | None
    content: str
    reasoning: str | None
    reasoning_details: Annotated[list[Any], Meta(description="Merged, ready to be sent back with the next turn.")]
    refusal: str | None
    tool_calls: list[ToolCallReply]
    annotations: Annotated[list[dict[str, Any]], Meta(description="Citations and files, as OpenRouter gave them.")]
    images: list[dict[str, Any]]
    audio: NotRequired[dict[str, Any]]
    logprobs: NotRequired[Annotated[Any, Meta(description="Those of all pieces of text, put together.")]]
    extra: NotRequired[
        Annotated[dict[str, Any], Meta(description="What else upstream said of the answer, such as `service_tier`.")]
    ]
    finish_reason: Annotated[
        str | None,
        Meta(description="Upstream's word, or `cancelled`, `abandoned`, `interrupted`, `shutting_down`."),
    ]
    native_finish_reason: str | None
    usage: AnswerUsage | None


class StreamResult(ChatReply):
    """What there is of a stream's answer."""

    stream_id: str
    running: bool
    error: NotRequired[Failure]


class ChatFailure(Failure, frozen=True, omit_defaults=True):
    """A failed answer in one piece: what went wrong, and under `partial` what had come until then."""

    partial: ChatReply | None = None


class StreamSummary(TypedDict):
    """One stream, without its events."""

    stream_id: str
    generation_id: str | None
    model: str
    state: Literal["running", "finished"]
    finish_reason: str | None
    created_at: Annotated[str, Meta(description="ISO 8601, UTC.", extra_json_schema={"format": "date-time"})]
    age_s: float
    protocol: Annotated[str, Meta(description="In whose words it was asked for: `chat` is this one.")]
    readers: Count
    events: Annotated[int, Meta(ge=0, description="Records of its log; typed events where the protocol is `chat`.")]


class StreamList(TypedDict):
    """The caller's running and recent streams, newest first."""

    data: list[StreamSummary]
    has_more: Annotated[bool, Meta(description="Whether there are more than `limit`; then they are older.")]


class StreamCounts(TypedDict):
    """What streams there are, and how much of them is kept."""

    active: Count
    readers: Count
    kept: Count
    log_bytes: Count


class CatalogueState(TypedDict):
    """The model list as it is held; `age_s` is null before it was first fetched."""

    models: Count
    age_s: Seconds | None


class SharedHealth(TypedDict):
    """The store that several processes share."""

    contact: Annotated[bool, Meta(description="Whether it can be used. Readiness does not depend on it.")]
    replicas: Annotated[Count, Meta(description="Processes that share it, this one included; 0 without contact.")]
    mirrors: Annotated[Count, Meta(description="Answers of other processes that are kept here.")]
    unacked_bytes: Annotated[Count, Meta(description="What waits to be written there.")]


class Health(TypedDict):
    """The process is alive, and what it holds."""

    status: Literal["ok"]
    version: str
    uptime_s: Seconds
    sandbox: Annotated[bool, Meta(description="Whether a stand-in plays OpenRouter.")]
    default_model: Annotated[str, Meta(description="What answers where a request names no model.")]
    max_body_bytes: Annotated[int, Meta(description="A larger request gets 413.")]
    streams: StreamCounts
    catalogue: CatalogueState
    shared: NotRequired[Annotated[SharedHealth, Meta(description="Missing where there is none.")]]


class Ready(TypedDict):
    """Work is taken."""

    status: Literal["ready"]


class UsageRow(TypedDict):
    """What one caller asked of one model on one day."""

    day: Annotated[str, Meta(description="UTC.", extra_json_schema={"format": "date"})]
    caller: str
    model: str
    requests: Annotated[Count, Meta(description="Answers that OpenRouter took on.")]
    prompt_tokens: Count
    completion_tokens: Count
    cost_usd: Annotated[float, Meta(description="Estimates of what is not settled included.")]
    settled_cost_usd: Annotated[float, Meta(description="What OpenRouter itself has stated of it.")]
    unsettled: Annotated[Count, Meta(description="Answers that count with an estimate.")]


class BudgetReply(TypedDict):
    """The caller's budget today."""

    limit_usd: float
    spent_usd: float
    reserved_usd: Annotated[float, Meta(description="Held by answers that run, or whose cost is being looked up.")]
    resets_at: Annotated[str, Meta(description="The next midnight, UTC.", extra_json_schema={"format": "date-time"})]


class UsageReply(TypedDict):
    """What was asked and spent."""

    data: list[UsageRow]
    first_day: Annotated[str, Meta(description="UTC.", extra_json_schema={"format": "date"})]
    last_day: Annotated[str, Meta(description="UTC.", extra_json_schema={"format": "date"})]
    total_cost_usd: float
    total_settled_cost_usd: float
    stored: Annotated[bool, Meta(description="False while the figures are kept in memory only.")]
    budget: NotRequired[Annotated[BudgetReply, Meta(description="Only there for callers with one.")]]


class ModelList(TypedDict):
    """The model list, OpenRouter's objects whole."""

    data: list[dict[str, Any]]
    total: Count
    fetched_at: Annotated[str, Meta(description="ISO 8601, UTC.", extra_json_schema={"format": "date-time"})]
    stale: Annotated[bool, Meta(description="True while OpenRouter could not be asked anew.")]


class ModelPage(ModelList):
    """The models that match; `total` counts them before paging."""

    limit: Count
    offset: Count


class Family(TypedDict):
    """An author of models."""

    family: str
    count: Count


class FamilyList(TypedDict):
    """Every author, the one with the most models first."""

    data: list[Family]


class ModelReply(TypedDict):
    """One model and who serves it."""

    data: dict[str, Any]
    endpoints: Annotated[list[dict[str, Any]], Meta(description="As OpenRouter lists them; empty where it does not.")]
    stale: NotRequired[Annotated[bool, Meta(description="Only there, and true, when OpenRouter could not be asked.")]]
