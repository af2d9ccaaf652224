"""The stand-in OpenRouter speaks the wire format of the real one."""
