"""`openrouter-server install-service`: writes the unit files for systemd and says what to do next."""

from __future__ import annotations

import difflib
import os
import socket
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from server.commands.command_lines import InstallArgs
from server.commands.own_command import own_command
from server.commands.systemd_units import SERVICE, SOCKET, unit_files
from server.config import EX_CONFIG, ConfigError, Flags, load_config

FOLDER = "openrouter-sse-backend"
"""Of settings and state, as the units name it."""

EX_CANTCREAT = 73
EX_NOPERM = 77

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108  # by ProtectHome= and PrivateTmp=


class CannotInstall(Exception):
    """The units would not work, or cannot be written; the text says what to do."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def install_service(args: InstallArgs, flags: Flags, environ: Mapping[str, str]) -> int:
    """Writes the units; returns the exit code."""
    flags = replace(flags, config=str(Path(flags.config).absolute())) if flags.config else flags
    folder = args.folder or _units_folder(environ, user=args.user)
    try:
        if args.folder is None:
            _check_is_possible(flags, user=args.user)
        settings_folder = _settings_folder(environ, user=args.user)
        addresses = _addresses(flags, settings_folder, settings_folder if args.user else Path("/var/lib", FOLDER))
        command, environment = own_command("openrouter-server", "server")
        options = ["--config", flags.config] if flags.config else []
        options += ["--sandbox"] if flags.sandbox else []
        units = unit_files([*command, *options], addresses, environment=environment, user=args.user)
        _write(folder, units, force=args.force)
    except CannotInstall as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    sudo = "sudo " if environ.get("SUDO_USER") and not args.user else ""
    print(f"The socket listens on {', '.join(addresses)}: server.host and server.port as they are now.")
    print(_next_steps(args, flags, settings_folder, sudo=sudo))
    return 0


# -- where things are -----------------------------------------------------------------------------------------------


def _units_folder(environ: Mapping[str, str], *, user: bool) -> Path:
    return _user_folder(environ) / "systemd/user" if user else Path("/etc/systemd/system")


def _settings_folder(environ: Mapping[str, str], *, user: bool) -> Path:
    """What the service will find in CONFIGURATION_DIRECTORY."""
    return (_user_folder(environ) if user else Path("/etc")) / FOLDER


def _user_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _addresses(flags: Flags, settings_folder: Path, cwd: Path) -> list[str]:
    """What to listen on, from the settings that the service will see: not this shell's environment or `.env`."""
    try:
        config = load_config(flags, {"CONFIGURATION_DIRECTORY": str(settings_folder)}, cwd)
    except ConfigError as exc:
        raise CannotInstall("\n".join(map(str, exc.problems)), EX_CONFIG) from exc
    host, port = config.server.host, config.server.port
    if port == 0:
        raise CannotInstall("server.port is 0, any free one: a socket unit needs a port, such as 8000.", EX_CONFIG)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        raise CannotInstall(
            f"server.host = {host}: {exc.strerror}. A socket unit needs an address.", EX_CONFIG
        ) from exc
    return [f"[{address[0]}]:{port}" if ":" in str(address[0]) else f"{address[0]}:{port}" for *_, address in found]


# -- whether the service could start --------------------------------------------------------------------------------


def _check_is_possible(flags: Flags, *, user: bool) -> None:
    if sys.platform != "linux":
        raise CannotInstall("systemd runs on Linux only.", EX_CONFIG)
    if user:
        return
    command, _ = own_command("openrouter-server", "server")
    if os.geteuid() != 0:
        raise CannotInstall(
            f"Only root may write to /etc/systemd/system. Either: sudo {command[0]} install-service\n"
            f"or, for a service of your own account:    {command[0]} install-service --user",
            EX_NOPERM,
        )
    needed = [Path(command[0]), Path(sys.executable), Path(sys.base_prefix), Path(__file__)]
    if path := first_out_of_reach(needed):
        raise CannotInstall(
            f"The service runs as a user of its own, which cannot reach {path}; this program needs it.\n"
            "Install the program outside of home folders, with a Python that everybody can run. In this project's "
            "folder:\n"
            "  /usr/bin/python3 -m venv /opt/openrouter-sse-backend\n"
            "  /opt/openrouter-sse-backend/bin/pip install --no-deps --require-hashes -r requirements.txt\n"
            "  /opt/openrouter-sse-backend/bin/pip install --no-deps --no-build-isolation .\n"
            "  /opt/openrouter-sse-backend/bin/openrouter-server install-service\n"
            "Or install it as a service of your own account: install-service --user",
            EX_CONFIG,
        )
    if flags.config and (path := first_out_of_reach([Path(flags.config)])):
        raise CannotInstall(
            f"The service runs as a user of its own, which cannot read {path}. Put the settings into "
            f"/etc/{FOLDER}/config.toml, where it finds them without --config.",
            EX_CONFIG,
        )


def first_out_of_reach(paths: Iterable[Path]) -> Path | None:
    """The first one that a service with ProtectHome= and PrivateTmp= does not see, or that not everybody can read."""
    for path in paths:
        for way in (path.absolute(), path.resolve()):
            if any(way.is_relative_to(hidden) for hidden in _HIDDEN) or _is_closed(way):
                return way
    return None


def _is_closed(path: Path) -> bool:
    """Whether somebody who is neither owner nor in the group is kept out."""
    try:
        return not path.stat().st_mode & stat.S_IROTH or not all(
            parent.stat().st_mode & stat.S_IXOTH for parent in path.parents
        )
    except OSError:
        return False  # what is missing is reported by whoever needs it


# -- writing and telling --------------------------------------------------------------------------------------------


def _write(folder: Path, units: Mapping[str, str], *, force: bool) -> None:
    """Writes all units or none; one that is there and differs is shown and left alone, unless forced."""
    old = {name: (folder / name).read_text() for name in units if (folder / name).exists()}
    changes = "".join(_diff(folder / name, text, units[name]) for name, text in old.items() if text != units[name])
    if changes and not force:
        raise CannotInstall(
            f"{changes}\nNothing was written: these files differ from what would be. Keep your own changes in a "
            f"drop-in (systemctl edit {SERVICE}), then replace the files with --force.",
            EX_CANTCREAT,
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            (folder / name).write_text(text)
            done = "Wrote" if name not in old else "Replaced" if old[name] != text else "Unchanged:"
            print(f"{done} {folder / name}")
    except OSError as exc:
        raise CannotInstall(f"{exc.filename} cannot be written: {exc.strerror}.", EX_CANTCREAT) from exc


def _diff(path: Path, old: str, new: str) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{path} as it is", "as it would be", lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)


def _next_steps(args: InstallArgs, flags: Flags, settings_folder: Path, *, sudo: str) -> str:
    ctl, option = ("systemctl --user", " --user") if args.user else (f"{sudo}systemctl", "")
    prefix = f"{settings_folder}/" if args.user else f"/etc/credstore/{FOLDER}."
    key = [
        "# the key for OpenRouter, and a comma list of tokens for callers on other machines; typed unseen",
        *(
            f"systemd-ask-password -n '{what}:' | {sudo}install -D -m 0600 /dev/stdin {prefix}{name}"
            for what, name in (("OpenRouter key", "openrouter_api_key"), ("Tokens", "server_tokens"))
        ),
    ]
    steps = [
        *(() if flags.sandbox else key),
        f"# other settings, if the defaults do not fit: {flags.config or settings_folder / 'config.toml'}",
        f"{ctl} daemon-reload",
        f"{ctl} enable --now {SOCKET} {SERVICE}",
        *(["# so that it runs while you are logged out", "loginctl enable-linger"] if args.user else []),
        "# how it does, and what it says",
        f"{ctl} status {SERVICE}",
        f"{sudo}journalctl{option} -u {SERVICE} -f",
    ]
    return "\n".join(["", "Next:", *(f"  {step}" for step in steps)])
