"""The only place that talks to OpenRouter, and what is sent there. May use `translation` for what upstream says."""
