"""What a desktop client starts from the bundle."""

import sys

from openrouter_sse_backend import openrouter_mcp

if __name__ == "__main__":
    sys.exit(openrouter_mcp())
