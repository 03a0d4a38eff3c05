"""Renews what expires on the store's broker, before it does.

`due` lists it, `server` renews the broker's own certificate, `device` makes a device's next one
while its present one still works, `finish` takes the old one back, `password` renews the password
of a device or of one of the gateway's own programs.

The store's key, which turns loyalty numbers into pseudonyms, is not rotated: raw numbers are kept
nowhere, so under a new key every known customer would be a stranger.

Run as `python -m provisioning.rotate_keys --help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from provisioning import enrol

DUE_DAYS: Final = 60
"""Two months' notice: time for a technician's ordinary visit."""


def due(folder: Path, *, now: datetime, days: int = DUE_DAYS) -> list[tuple[str, datetime]]:
    """Everything that expires within so many days, the earliest first."""
    server = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    expiries = [
        ("(authority)", authority.not_valid_after_utc),
        ("(broker)", server.not_valid_after_utc),
        *(
            (one.name, datetime.fromisoformat(one.expires_at))
            for one in enrol.load(folder).accounts
            if one.is_active and one.expires_at and not one.password
        ),
    ]
    limit = now + timedelta(days=days)
    return sorted((one for one in expiries if one[1] <= limit), key=lambda one: (one[1], one[0]))


def renew_device(folder: Path, name: str, *, now: datetime) -> None:
    """Hand over a device's next key and certificate; the present ones stay valid."""
    account = enrol.find(folder, name)
    key, certificate = enrol.add_certificate(folder, account, now=now, is_earlier_kept=True)
    enrol.hand_over(folder, f"{name}.key", key)
    enrol.hand_over(folder, f"{name}.crt", certificate)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one request; 0 good, 1 refused or something is due."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options, now=datetime.now(UTC))
    except enrol.EnrolError as refused:
        print(f"rotate_keys: {refused}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, *, now: datetime) -> int:
    folder: Path = options.folder
    match options.command:
        case "due":
            found = due(folder, now=now, days=options.days)
            for name, expires_at in found:
                print(name, expires_at.date().isoformat(), sep="\t")
            return 1 if found else 0
        case "server":
            enrol.renew_server(folder, now=now)
        case "device":
            renew_device(folder, options.name, now=now)
        case "finish":
            enrol.revoke_earlier(folder, options.name, now=now)
        case _:
            _, password = enrol.add(folder, enrol.find(folder, options.name), now=now)
            enrol.hand_over(folder, f"{options.name}.password", password.encode())
    print("then: systemctl reload mosquitto")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rotate_keys", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--folder", type=Path, default=enrol.FOLDER, help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    soon = commands.add_parser("due", help="what expires soon; exit code 1 when anything does")
    soon.add_argument("--days", type=int, default=DUE_DAYS, help="default: %(default)s")
    commands.add_parser("server", help="a new key and certificate for the broker")
    for command, text in (
        ("device", "a device's next key and certificate, beside the present ones"),
        ("finish", "take a device's earlier certificates back"),
        ("password", "a new password"),
    ):
        commands.add_parser(command, help=text).add_argument("name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
