"""How this program is started without any PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from server.version import program_version


def own_command(name: str, module: str) -> tuple[list[str], dict[str, str]]:
    """The words of the command, an absolute path first, and what the environment must hold for it.

    The installed script, or else the interpreter and the module; where nothing was installed, with the way to it.

    Args:
        name: of the script, as `pyproject.toml` has it.
        module: what `python -m` starts in its place.
    """
    script_name = f"{name}.exe" if os.name == "nt" else name
    for script in (Path(sys.argv[0]), Path(sys.executable).with_name(script_name)):
        if script.name == script_name and script.exists():
            return [str(script.absolute())], {}
    root = Path(__file__).absolute().parent.parent.parent
    environment = {} if program_version() != "unknown" else {"PYTHONPATH": str(root)}
    return [str(Path(sys.executable).absolute()), "-m", module], environment
