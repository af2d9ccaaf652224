"""Reads the answers of an openrouter-sse-backend as typed events, through lost connections.

    async with Client("http://localhost:8000") as client:
        async for event in client.chat("Why is the sky blue?"):
            if isinstance(event, Content):
                print(event.text, end="", flush=True)

`SyncClient` is the same without `async`.
"""

from openrouter_sse_client.chat import Chat
from openrouter_sse_client.client import Client
from openrouter_sse_client.errors import ChatError
from openrouter_sse_client.link import Reconnecting, State
from openrouter_sse_client.results import Result
from openrouter_sse_client.sync import SyncChat, SyncClient
from openrouter_sse_client.wire.events import (
    Annotation,
    Audio,
    Content,
    Done,
    Error,
    Event,
    Image,
    Reasoning,
    ReasoningDetails,
    Refusal,
    Start,
    ToolCall,
    ToolCallDelta,
    Unknown,
    Usage,
)
from openrouter_sse_client.wire.sse import ServerSentEvent, SSEDecoder

__all__ = [
    "Annotation",
    "Audio",
    "Chat",
    "ChatError",
    "Client",
    "Content",
    "Done",
    "Error",
    "Event",
    "Image",
    "Reasoning",
    "ReasoningDetails",
    "Reconnecting",
    "Refusal",
    "Result",
    "SSEDecoder",
    "ServerSentEvent",
    "Start",
    "State",
    "SyncChat",
    "SyncClient",
    "ToolCall",
    "ToolCallDelta",
    "Unknown",
    "Usage",
]
