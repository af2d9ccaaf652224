"""What is left to be done by whoever has installed the unit files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from server.commands.command_lines import InstallArgs
from server.commands.systemd_units import INSTANCE, SERVICE, SOCKET, TARGET, instance
from server.config import Flags

FOLDER = "openrouter-sse-backend"
"""Of settings and state, as the units name it."""

_KEY = (("OpenRouter key", "openrouter_api_key"), ("Tokens", "server_tokens"))
_STORE = (("Address of the store", "redis_url"),)


def secret_path(name: str, settings_folder: Path, *, user: bool) -> Path:
    """The file that becomes a credential of the service."""
    return settings_folder / name if user else Path("/etc/credstore") / f"{FOLDER}.{name}"


def next_steps(
    args: InstallArgs, flags: Flags, folder: Path, settings_folder: Path, *, sudo: str, replaces: bool
) -> str:
    """Lines for a shell, with comments.

    Args:
        folder: of the units.
        settings_folder: of the settings.
        sudo: stands before what only root may do.
        replaces: the units of the other kind are there: of one service in place of several, or the other way round.
    """
    ctl, option = ("systemctl --user", " --user") if args.user else (f"{sudo}systemctl", "")
    is_one = args.instances is None
    unit = SERVICE if is_one else TARGET
    watched = SERVICE if is_one else f"'{INSTANCE.replace('@', '@*')}'"

    def typed(what: str, name: str) -> str:
        path = secret_path(name, settings_folder, user=args.user)
        return f"systemd-ask-password -n '{what}:' | {sudo}install -D -m 0600 /dev/stdin {path}"

    def steps() -> Iterator[str]:
        if not flags.sandbox:
            yield "# the key for OpenRouter, and a comma list of tokens for callers on other machines; typed unseen"
            yield from (typed(what, name) for what, name in _KEY)
        if not is_one:
            yield "# where the store is, and what encrypts answers there; the same for all who share it"
            yield from (typed(what, name) for what, name in _STORE)
            path = secret_path("redis_text_key", settings_folder, user=args.user)
            if not path.exists():  # one that is in use must stay
                yield f"openssl rand -base64 32 | {sudo}install -D -m 0600 /dev/stdin {path}"
        yield f"# other settings, if the defaults do not fit: {flags.config or settings_folder / 'config.toml'}"
        yield f"{ctl} daemon-reload"
        if replaces and args.instances is not None:
            yield from _to_several(ctl, sudo, folder, args.instances, user=args.user)
        else:
            yield f"{ctl} enable --now {SOCKET} {unit}"
        if replaces and is_one:
            yield from _to_one(ctl, sudo, folder)
        if args.user:
            yield "# so that it runs while you are logged out"
            yield "loginctl enable-linger"
        yield "# how it does, and what it says"
        yield f"{ctl} status {watched}"
        yield f"{sudo}journalctl{option} -u {watched} -f"

    return "\n".join(["", "Next:", *(f"  {step}" for step in steps())])


def _to_several(ctl: str, sudo: str, folder: Path, instances: int, *, user: bool) -> Iterator[str]:
    """The others take what is new while the one service ends; the first goes on with what that has counted."""
    yield f"# they take the place of {SERVICE}: it ends when its answers have, and the first goes on with its figures"
    state = f"/var/lib/private/{FOLDER}"
    if user:
        yield f"state=$({ctl} show -P WorkingDirectory {SERVICE})"
        state = '"$state"'
    yield f"{ctl} enable {SOCKET} {TARGET}"
    if instances > 1:
        yield f"{ctl} start {' '.join(map(instance, range(2, instances + 1)))}"
    yield f"{ctl} disable --now {SERVICE}"
    yield f"{sudo}cp -aT {state} {state}-1"
    yield f"{ctl} start {TARGET}"
    yield f"{_sudo(sudo, folder)}rm {folder / SERVICE}"
    yield f"{ctl} daemon-reload"


def _to_one(ctl: str, sudo: str, folder: Path) -> Iterator[str]:
    """The one service is there already, on the same socket."""
    yield f"# it takes the place of {TARGET}, which ends when its answers have"
    yield f"{ctl} disable {TARGET}"
    yield f"{ctl} stop {TARGET} '{INSTANCE.replace('@', '@*')}'"
    yield f"{_sudo(sudo, folder)}rm {folder / TARGET} {folder / INSTANCE}"
    yield f"{ctl} daemon-reload"


def _sudo(sudo: str, folder: Path) -> str:
    """What only root may do in the machine's folder, but not elsewhere."""
    return sudo if folder.is_relative_to("/etc") else ""
