"""The same streams in the words of other clients: one folder a protocol.

A protocol is a *dialect*: how a request becomes a call, how the log becomes bytes, how an end and an error look. An
answer stays a stream of `client.streams` with one writer, a log and readers; limits, budgets, retries, cost and logs
belong to it and are the same for all. What the dialects share is in `answering` and
`event_view`; `mounts` says where they are.
"""
