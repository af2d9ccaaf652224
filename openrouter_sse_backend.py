"""Where the installed commands begin: with this product's own packages, whatever else is called `server`.

`client`, `mcp_app` and `server` are names that others use too. A folder of that name on PYTHONPATH, or in another
project that is installed into the same environment, must not be taken for ours.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

_OWN_PACKAGES = ("client", "mcp_app", "server")


def openrouter_server() -> int:
    """Runs `openrouter-server`; returns its exit code."""
    _take_own_packages()
    from server.__main__ import main

    return main()


def openrouter_mcp() -> int:
    """Runs `openrouter-mcp`; returns its exit code."""
    _take_own_packages()
    from server.commands.mcp_command import main

    return main()


def _take_own_packages() -> None:
    """Imports the three packages from beside this file, and looks for libraries on PYTHONPATH last.

    It is last and not away: whoever installs with `pip install --target` needs it.
    """
    said = {str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    sys.path.sort(key=lambda entry: entry in said)  # stable
    folder = str(Path(__file__).absolute().parent)
    for name in _OWN_PACKAGES:
        spec = PathFinder.find_spec(name, [folder])
        if spec is None or spec.loader is None:
            raise ImportError(f"{folder} lacks {name}: install the program again")
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
