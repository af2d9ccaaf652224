"""Answers that outlive a connection: one writer, a log, readers, and what they have cost. Knows nothing of HTTP."""
