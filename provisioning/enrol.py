"""Gives every device of a store its own identity on the store's broker, and takes it away again.

One folder holds the store's certificate authority, the broker's certificate, the roster of names
with their roles, and the three files that mosquitto reads, which are written anew from the roster
after every change: revocation list, passwords, access list. No part of the agent is needed here.

Run as `python -m provisioning.enrol --help`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from provisioning import pki

FOLDER: Final = Path("/etc/edge-agent/broker")
ROLES_FILE: Final = Path(__file__).parent / "mosquitto.acl"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""What becomes a topic level and an account: nothing that MQTT or a shell could read otherwise."""
VENDOR_TOPIC: Final = re.compile(r"(?!store/|hq/|\$)[^+#/\s{}]+(/([^+#/\s{}]+|\+))*(/#)?")
"""A vendor's own topics start with a literal level, outside the store's and HQ's."""
LOCAL_ROLES: Final = ("agent", "pages")
"""Programs of the gateway itself: they come over the loopback listener with a password."""
BRIDGE: Final = "bridge"
"""Publishes vendors' own topics, all of which the agent may read."""

DEVICE_DAYS: Final = 825
"""Two years and a quarter: a store renews once between two rounds of new hardware."""
PASSWORD_BYTES: Final = 32
# The "$7$" of mosquitto 2 is PBKDF2 with SHA-512. The passwords are random, nobody chose them, so
# its default count is enough.
PBKDF2_ROUNDS: Final = 101
SALT_BYTES: Final = 12
HASH_BYTES: Final = 64
SECRET: Final = 0o600
FOR_BROKER: Final = 0o640
PUBLIC: Final = 0o644


class EnrolError(Exception):
    """The request cannot be carried out; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One name on the broker.

    Attributes:
        name: Account, common name of its certificate, and its level in topics.
        role: A role of `mosquitto.acl`.
        team: The staff team whose alerts a handheld gets.
        publish: The topics that a device of the role `vendor` publishes to.
        password: mosquitto's hash of its password; None when it holds a certificate.
        serials: Serial numbers of its certificates, the newest last.
        revoked: Serial numbers that are no longer valid.
        expires_at: Last instant of its newest certificate, RFC 3339.
        is_active: Whether it may still come in.
    """

    name: str
    role: str
    team: str | None = None
    publish: str | None = None
    password: str | None = None
    serials: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()
    expires_at: str | None = None
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Every name that was ever enrolled in a store."""

    store: str
    hosts: tuple[str, ...]
    accounts: tuple[Account, ...] = ()

    def find(self, name: str) -> Account | None:
        """The account of that name."""
        return next((one for one in self.accounts if one.name == name), None)

    def having(self, account: Account) -> Roster:
        """The roster with that account added or replaced."""
        others = [one for one in self.accounts if one.name != account.name]
        return replace(self, accounts=tuple(sorted([*others, account], key=lambda a: a.name)))


def initialise(folder: Path, store: str, *, hosts: Sequence[str], now: datetime) -> dict[str, str]:
    """Create a store's authority, the broker's certificate and the gateway's own accounts.

    Returns:
        The passwords of the gateway's own programs, by account.

    Raises:
        EnrolError: There is one already, or the store's name cannot be a topic level.
    """
    if (folder / "ca.key").exists():
        raise EnrolError(f"{folder} has an authority already; a second one would lock devices out")
    _checked(store)
    folder.mkdir(parents=True, exist_ok=True)
    authority = pki.new_authority(f"store {store}", now=now)
    _write(folder / "ca.key", pki.pem(authority.key), mode=SECRET)
    _write(folder / "ca.crt", pki.pem(authority.certificate), mode=PUBLIC)
    save(folder, Roster(store=store, hosts=tuple(hosts)), now=now)
    renew_server(folder, now=now)
    return {role: add(folder, Account(name=role, role=role), now=now)[1] for role in LOCAL_ROLES}


def renew_server(folder: Path, *, now: datetime, days: int = DEVICE_DAYS) -> None:
    """Give the broker a new key and a certificate for every host name of the roster."""
    hosts = tuple(dict.fromkeys(("localhost", "127.0.0.1", *load(folder).hosts)))
    issued = pki.issue(_authority(folder), "broker", hosts=hosts, now=now, days=days)
    _write(folder / "server.key", pki.pem(issued.key), mode=FOR_BROKER)
    _write(folder / "server.crt", pki.pem(issued.certificate), mode=PUBLIC)


def add(folder: Path, account: Account, *, now: datetime) -> tuple[Account, str]:
    """Enrol a name that logs in with a password; a certificate of the same name stops being valid.

    Returns:
        The account as stored, and the password, which is stored nowhere else.
    """
    roster = load(folder)
    _refuse_unfit(roster, account)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    earlier = (roster.find(account.name) or account).serials
    account = replace(
        account, password=password_hash(password), serials=earlier, revoked=earlier, is_active=True
    )
    save(folder, roster.having(account), now=now)
    return account, password


def add_certificate(
    folder: Path,
    account: Account,
    *,
    now: datetime,
    days: int = DEVICE_DAYS,
    is_earlier_kept: bool = False,
) -> tuple[bytes, bytes]:
    """Enrol a name that holds a certificate.

    An earlier one of the same name stops being valid, or is kept until `revoke_earlier`, so that a
    device can be given its new one in between.

    Returns:
        Its private key and its certificate, PEM; the key is stored nowhere else.
    """
    roster = load(folder)
    _refuse_unfit(roster, account)
    if account.role in LOCAL_ROLES:
        raise EnrolError(f"the {account.role} works on the gateway alone and has a password there")
    issued = pki.issue(_authority(folder), account.name, now=now, days=days)
    known = roster.find(account.name) or account
    account = replace(
        account,
        password=None,
        serials=(*known.serials, issued.certificate.serial_number),
        revoked=known.revoked if is_earlier_kept else known.serials,
        expires_at=issued.certificate.not_valid_after_utc.isoformat(),
        is_active=True,
    )
    save(folder, roster.having(account), now=now)
    return pki.pem(issued.key), pki.pem(issued.certificate)


def revoke_earlier(folder: Path, name: str, *, now: datetime) -> None:
    """Take back every certificate of a name but its newest."""
    roster = load(folder)
    account = _known(roster, name)
    revoked = tuple(dict.fromkeys((*account.revoked, *account.serials[:-1])))
    save(folder, roster.having(replace(account, revoked=revoked)), now=now)


def revoke(folder: Path, name: str, *, now: datetime) -> Account:
    """Take a name's certificate, password and rights away, in one step.

    Raises:
        EnrolError: Nobody of that name is enrolled.
    """
    roster = load(folder)
    known = _known(roster, name)
    gone = replace(known, password=None, revoked=known.serials, is_active=False)
    save(folder, roster.having(gone), now=now)
    return gone


def load(folder: Path) -> Roster:
    """The store's roster.

    Raises:
        EnrolError: There is none yet.
    """
    try:
        raw = json.loads((folder / "roster.json").read_text())
    except FileNotFoundError as missing:
        raise EnrolError(f"{folder} is not set up yet: run init first") from missing
    accounts = [
        Account(**{**one, "serials": tuple(one["serials"]), "revoked": tuple(one["revoked"])})
        for one in raw["accounts"]
    ]
    return Roster(store=raw["store"], hosts=tuple(raw["hosts"]), accounts=tuple(accounts))


def find(folder: Path, name: str) -> Account:
    """The account of that name.

    Raises:
        EnrolError: Nobody of that name is enrolled.
    """
    return _known(load(folder), name)


def save(folder: Path, roster: Roster, *, now: datetime) -> None:
    """Store the roster and write what mosquitto reads from it."""
    passwords = [f"{one.name}:{one.password}\n" for one in roster.accounts if one.password]
    _write(folder / "roster.json", json.dumps(asdict(roster), indent=1).encode(), mode=SECRET)
    revoked = {serial for one in roster.accounts for serial in one.revoked}
    revocations = pki.revocation_list(_authority(folder), revoked, now=now)
    _write(folder / "crl.pem", pki.pem(revocations), mode=PUBLIC)
    _write(folder / "passwords", "".join(passwords).encode(), mode=FOR_BROKER)
    _write(folder / "mosquitto.acl", access_list(roster).encode(), mode=FOR_BROKER)


def access_list(roster: Roster, *, roles_file: Path = ROLES_FILE) -> str:
    """Mosquitto's access list: each active name with the lines of its role."""
    roles = _roles(roles_file)
    active = [one for one in roster.accounts if one.is_active]
    vendors = [f"topic read {one.publish}" for one in active if one.publish]
    if any(one.role == BRIDGE for one in active):
        vendors += [line.replace("topic write ", "topic read ", 1) for line in roles[BRIDGE]]
    blocks = []
    for one in active:
        filled = [
            line.format(store=roster.store, name=one.name, team=one.team, publish=one.publish)
            for line in roles[one.role]
        ]
        blocks.append([f"user {one.name}", *filled, *(vendors if one.role == "agent" else [])])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def password_hash(password: str) -> str:
    """A password as mosquitto 2 stores it."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS, HASH_BYTES)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"$7${PBKDF2_ROUNDS}${'$'.join(encoded)}"


def _roles(path: Path) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("role "):
            lines = roles.setdefault(line.removeprefix("role ").strip(), [])
        elif line.startswith("topic "):
            lines.append(line)
    return roles


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file so that a power cut leaves the old one or the new one, never a part."""
    new = path.with_name(f".{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, SECRET)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        # The broker reads its files by its group; the folder carries it (install.sh sets both).
        if os.geteuid() == 0:
            os.fchown(file.fileno(), 0, path.parent.stat().st_gid)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _authority(folder: Path) -> pki.Issued:
    return pki.load((folder / "ca.key").read_bytes(), (folder / "ca.crt").read_bytes())


def _known(roster: Roster, name: str) -> Account:
    known = roster.find(name)
    if known is None:
        raise EnrolError(f"{name} is not enrolled")
    return known


def _refuse_unfit(roster: Roster, account: Account) -> None:
    _checked(account.name)
    if account.role not in _roles(ROLES_FILE):
        raise EnrolError(f"no role {account.role}; there are: {', '.join(_roles(ROLES_FILE))}")
    if (account.role == "staff") != (account.team is not None):
        raise EnrolError("--team goes with the role staff, and only with it")
    if (account.role == "vendor") != (account.publish is not None):
        raise EnrolError("--publish goes with the role vendor, and only with it")
    if account.team is not None:
        _checked(account.team)
    if account.publish is not None and not VENDOR_TOPIC.fullmatch(account.publish):
        raise EnrolError(f"{account.publish!r} must begin with a level of the vendor's own")
    known = roster.find(account.name)
    if known is not None and known.role != account.role:
        raise EnrolError(f"{account.name} is a {known.role} already; take another name")


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise EnrolError(f"{name!r} must be small letters, digits and hyphens, 63 at most")
    return name


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one request; 0 good, 1 refused."""
    options = _parser().parse_args(arguments)
    try:
        _run(options, now=datetime.now(UTC))
    except EnrolError as refused:
        print(f"enrol: {refused}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace, *, now: datetime) -> None:
    folder: Path = options.folder
    match options.command:
        case "init":
            passwords = initialise(folder, options.store, hosts=options.host, now=now)
            for name, password in passwords.items():
                hand_over(folder, f"{name}.password", password.encode())
        case "add":
            account = Account(
                name=options.name, role=options.role, team=options.team, publish=options.publish
            )
            _add(folder, account, options, now=now)
        case "revoke":
            revoke(folder, options.name, now=now)
            print(f"{options.name} may do nothing after: systemctl reload mosquitto")
        case _:
            for one in load(folder).accounts:
                means = "password" if one.password else "certificate"
                print(one.name, one.role, means if one.is_active else "revoked", sep="\t")


def _add(folder: Path, account: Account, options: argparse.Namespace, *, now: datetime) -> None:
    if options.password or account.role in LOCAL_ROLES:
        _, password = add(folder, account, now=now)
        hand_over(folder, f"{account.name}.password", password.encode())
        return
    key, certificate = add_certificate(folder, account, now=now, days=options.days)
    hand_over(folder, f"{account.name}.key", key)
    hand_over(folder, f"{account.name}.crt", certificate)


def hand_over(folder: Path, name: str, content: bytes) -> None:
    """Lay a device's secret where the operator takes it from, and removes it."""
    out = folder / "hand-over"
    out.mkdir(mode=0o700, exist_ok=True)
    _write(out / name, content, mode=SECRET)
    print(out / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="enrol", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="create a store's authority and the broker's files")
    init.add_argument("--store", required=True, help="the store's level in every topic")
    init.add_argument("--host", action="append", default=[], help="a name or address of this box")
    new = commands.add_parser("add", help="enrol a name, or renew its certificate or password")
    new.add_argument("name")
    new.add_argument("--role", required=True)
    new.add_argument("--team", help="of a handheld")
    new.add_argument("--publish", help="topics of a vendor's device, such as xovis/#")
    new.add_argument("--password", action="store_true", help="instead of a certificate")
    new.add_argument("--days", type=int, default=DEVICE_DAYS, help="default: %(default)s")
    gone = commands.add_parser("revoke", help="take a name's credentials and rights away")
    gone.add_argument("name")
    commands.add_parser("list", help="who is enrolled")
    return parser


if __name__ == "__main__":
    sys.exit(main())
