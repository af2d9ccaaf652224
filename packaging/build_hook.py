"""Puts what the page needs into the wheel: the JavaScript client, and the bundle that formats answers.

The bundle is built when it is not there (`scripts/build-web`: npm, or a Node from the Python package index). A wheel
without it is refused, since forgetting it is the usual accident; `NO_WEB_BUILD=1` asks for one. Editable installs
need neither.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_REFUSED = (
    "server/web/vendor is missing and could not be built: run `bash scripts/build-web` to see why. "
    "NO_WEB_BUILD=1 makes a wheel whose page shows answers as plain text."
)


class PageHook(BuildHookInterface):  # type: ignore[misc,type-arg,unused-ignore]
    """Runs before a wheel is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files, or refuses."""
        root = Path(self.root)
        web = root / "server" / "web"
        if version == "editable" or not web.exists():  # the bundle for desktop clients has no page
            return
        if not (web / "client.js").exists():
            build_data["force_include"][str(root / "sdk" / "javascript" / "client.js")] = "server/web/client.js"
        if (web / "vendor" / "format.js").exists() or os.environ.get("NO_WEB_BUILD"):
            return
        built = subprocess.run(["bash", "scripts/build-web"], cwd=root, check=False)  # noqa: S607
        if built.returncode or not (web / "vendor" / "format.js").exists():
            raise RuntimeError(_REFUSED)
