"""The unit files for systemd, made from the templates in `server/systemd`. Pure but for reading those.

One service, or instances of one template that are passed the same socket and belong to one target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files

SERVICE = "openrouter-sse.service"
SOCKET = "openrouter-sse.socket"
TARGET = "openrouter-sse.target"
INSTANCE = "openrouter-sse@.service"
OF_ONE = (SERVICE, SOCKET)
OF_SEVERAL = (INSTANCE, SOCKET, TARGET)

UNKNOWN_SECRETS = {"REDIS_TEXT": "encrypted", "REDIS_TEXT_KEY": "0" * 64}
"""Stands for what only the service itself may read, where settings are judged without it: a store is not refused for
want of a key, nor for having one besides `redis.text = "plain"`."""
_WITHOUT_CREDENTIALS = (
    *("/usr/bin/env", "-u", "CREDENTIALS_DIRECTORY", "OPENROUTER_API_KEY=as-at-the-start"),
    *(f"{name}={value}" for name, value in UNKNOWN_SECRETS.items()),
)
"""What `ExecReload=` runs may not read them (tried with systemd 252), and a reload does not renew them."""

_BELONGS = f"""\
Description=OpenRouter streaming server, instance %i
PartOf={TARGET}
ReloadPropagatedFrom={TARGET}"""
_FOLDERS = """\
StateDirectory=openrouter-sse-backend{}
WorkingDirectory=%S/openrouter-sse-backend{}"""
_OWN_FOLDERS = f"""\
{_FOLDERS.format("-%i", "-%i")}
RuntimeDirectory=openrouter-sse-backend-%i
# /health and /metrics of this one alone; for Prometheus in a drop-in: Environment=STATUS_ADDRESS=127.0.0.1:910%i
Environment=STATUS_ADDRESS=%t/openrouter-sse-backend-%i/status.sock
# the one socket of all of them
Sockets={SOCKET}"""


def unit_files(
    command: Sequence[str],
    addresses: Sequence[str],
    *,
    environment: Mapping[str, str],
    user: bool,
    instances: int | None = None,
) -> dict[str, str]:
    """File name → content.

    Args:
        command: what starts the server, an absolute path first.
        addresses: what to listen on, as `ListenStream=` takes it.
        environment: what the command needs to have set.
        user: for a user's own service manager, not the machine's.
        instances: how many processes share the socket; None: one service without a number.
    """
    variables = [f"Environment={_word(f'{name}={value}')}" for name, value in environment.items()]
    wanted = "default.target" if user else "multi-user.target"
    is_one = instances is None
    marks = {
        "@START@": "\n".join([*variables, f"ExecStart={exec_line(command)}"]),
        "@CHECK@": f"ExecReload={exec_line([*_WITHOUT_CREDENTIALS, *command, '--check-config', '--quiet'])}",
        "@LISTEN@": "\n".join(f"ListenStream={address}" for address in addresses),
        "@NAME@": SERVICE if is_one else INSTANCE,
        "@BELONGS@": "Description=OpenRouter streaming server" if is_one else _BELONGS,
        "@FOLDERS@": _FOLDERS.format("", "") if is_one else _OWN_FOLDERS,
        "\n@INSTALL@": f"\n\n[Install]\nWantedBy={wanted}" if is_one else "",
        "\n@SERVICE@": "" if is_one else f"\n# when none of them runs\nService={instance(1)}",
        "@INSTANCES@": "\n".join(f"Wants={instance(number)}" for number in range(1, (instances or 0) + 1)),
        "@WANTED@": wanted,
    }
    templates = {SERVICE: "openrouter-sse-user.service", INSTANCE: "openrouter-sse-user.service"} if user else {}
    return {
        name: _filled(templates.get(name, name.replace("@", "")), marks)
        for name in (OF_ONE if is_one else OF_SEVERAL)
    }


def instance(number: int) -> str:
    """The unit's name of one of them, counted from 1."""
    return INSTANCE.replace("@", f"@{number}")


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


def _filled(name: str, marks: Mapping[str, str]) -> str:
    text = files("server.commands").joinpath("systemd", name).read_text("utf-8")
    for mark, meant in marks.items():
        text = text.replace(mark, meant)
    return text
