"""What a desktop client starts from the bundle."""

import sys

from server.mcp_command import main

if __name__ == "__main__":
    sys.exit(main())
