"""`openrouter-server rolling-restart`: one instance after the other, each when the one before serves again.

The others hold the socket meanwhile, so nobody is refused, and an instance ends when its answers have. `systemctl
restart` of them all at once would do neither.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from server.commands.command_lines import RestartArgs
from server.commands.systemd_units import INSTANCE, SERVICE, TARGET

EX_FAILED = 1
EX_UNAVAILABLE = 69
_UNIT = re.compile(re.escape(INSTANCE).replace("@", r"@(\d+)"))


def rolling_restart(args: RestartArgs) -> int:
    """Restarts every instance that the target names; returns the exit code. The first that fails is the last."""
    program = shutil.which("systemctl")
    if program is None:
        print("There is no systemctl here: rolling-restart is for instances that systemd runs.", file=sys.stderr)
        return EX_UNAVAILABLE
    ctl = [program, "--user"] if args.user else [program]
    option = " --user" if args.user else ""
    units = _instances(ctl)
    if units is None:
        return EX_UNAVAILABLE
    if not units:
        print(
            f"systemd knows no instances (Wants= of {TARGET}). install-service --instances N makes them; a single "
            f"service is restarted by: systemctl{option} restart {SERVICE}",
            file=sys.stderr,
        )
        return EX_UNAVAILABLE
    for number, unit in enumerate(units, 1):
        print(f"{unit} ({number} of {len(units)}): restarts, when its answers have ended …", flush=True)
        if not (_run(ctl, "restart", unit) and _run(ctl, "is-active", "--quiet", unit)):
            left = f"; not restarted: {', '.join(units[number:])}" if units[number:] else ""
            print(f"{unit} does not serve{left}. What it says: journalctl{option} -u {unit} -n 20", file=sys.stderr)
            return EX_FAILED
    print("All of them serve.")
    return 0


def _instances(ctl: list[str]) -> list[str] | None:
    """In the order of their numbers; None, with what systemctl says, where there is no systemd to ask."""
    shown = subprocess.run(
        [*ctl, "show", "--property=Wants", "--value", TARGET], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        print(shown.stderr.strip(), file=sys.stderr)
        return None
    found = {unit: int(match[1]) for unit in shown.stdout.split() if (match := _UNIT.fullmatch(unit))}
    return sorted(found, key=found.__getitem__)


def _run(ctl: list[str], *words: str) -> bool:
    """Has systemd do it, and waits; what is wrong is said by systemctl itself."""
    return subprocess.run([*ctl, *words], check=False).returncode == 0
