"""The unit files for systemd, made from the templates in `server/systemd`. Pure but for reading those."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

SERVICE = "openrouter-sse.service"
SOCKET = "openrouter-sse.socket"
_WITHOUT_CREDENTIALS = ("/usr/bin/env", "-u", "CREDENTIALS_DIRECTORY", "OPENROUTER_API_KEY=as-at-the-start")
"""What `ExecReload=` runs may not read them (tried with systemd 252), and a reload does not renew them."""


def unit_files(
    command: Sequence[str], addresses: Sequence[str], *, environment: Mapping[str, str], user: bool
) -> dict[str, str]:
    """File name → content.

    Args:
        command: what starts the server, an absolute path first.
        addresses: what to listen on, as `ListenStream=` takes it.
        environment: what the command needs to have set.
        user: for a user's own service manager, not the machine's.
    """
    variables = [f"Environment={_word(f'{name}={value}')}" for name, value in environment.items()]
    start = "\n".join([*variables, f"ExecStart={exec_line(command)}"])
    check = f"ExecReload={exec_line([*_WITHOUT_CREDENTIALS, *command, '--check-config', '--quiet'])}"
    listen = "\n".join(f"ListenStream={address}" for address in addresses)
    service = "openrouter-sse-user.service" if user else SERVICE
    return {
        SERVICE: _template(service).replace("@START@", start).replace("@CHECK@", check),
        SOCKET: _template(SOCKET).replace("@LISTEN@", listen),
    }


def exec_line(command: Sequence[str]) -> str:
    """The words as `ExecStart=` takes them (systemd.service(5), "Command lines")."""
    program, *arguments = command
    # a variable is put in for $NAME in arguments only
    return " ".join([_word(program), *(_word(argument.replace("$", "$$")) for argument in arguments)])


def _word(text: str) -> str:
    text = text.replace("%", "%%")  # systemd.unit(5), "Specifiers"
    if re.fullmatch(r"[\w./:=@%$+-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _template(name: str) -> str:
    return files("server.commands").joinpath("systemd", name).read_text("utf-8")
