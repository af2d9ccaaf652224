"""OpenRouter's stream to typed events: bytes in, events out. Pure: no I/O, no clock, no loop.

translate     the whole of it, one object an answer; the rest are its steps
sse           bytes to the data of server-sent events
chunks        that data to what it says
recurrence    the short way for chunks that differ from one before in their text alone
tool_calls, reasoning, usage, told  what an answer is made of beside text
errors        what upstream says when it refuses or fails
events        the typed events
payloads      the chunks themselves, for who passes them on

Uses `border` and `client.errors`, nothing else.
"""
