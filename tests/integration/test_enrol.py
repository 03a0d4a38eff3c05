"""The tool that enrols devices: what it refuses, what it leaves on disk, what it renews."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from provisioning import enrol, rotate_keys
from tests.integration.enrolled import now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store's folder with its authority and nobody enrolled but the gateway's own programs."""
    enrol.initialise(tmp_path, "s1", hosts=["gateway.example.net", "10.0.0.1"], now=now())
    return tmp_path


def _add(folder: Path, account: enrol.Account) -> None:
    enrol.add_certificate(folder, account, now=now())


NO_NAMES = (
    "",
    "#",
    "+",
    "pos/2",
    "pos 2",
    "Pos-2",
    "-pos",
    "pos:2",
    "pos\nuser root",
    "ä",
    "a" * 64,
)
NO_VENDORS = ("#", "+/x", "store/s1/event/pos-2", "hq/#", "$SYS/#", "$share/g/x", "a/#/b", "a/b+")


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_no_plain_topic_level_is_refused(folder: Path, name: str) -> None:
    """Nothing that a broker's file or a topic reads otherwise becomes an account."""
    before = (folder / "mosquitto.acl").read_text()
    with pytest.raises(enrol.EnrolError):
        _add(folder, enrol.Account(name=name, role="device"))
    assert (folder / "mosquitto.acl").read_text() == before


@pytest.mark.parametrize("publish", [*NO_VENDORS, "a b", "a\n", ""])
def test_a_vendors_topics_stay_outside_the_stores(folder: Path, publish: str) -> None:
    """A vendor's device cannot be given a store's, HQ's or the broker's own topics."""
    with pytest.raises(enrol.EnrolError):
        _add(folder, enrol.Account(name="x-1", role="vendor", publish=publish))


@pytest.mark.parametrize(
    "account",
    [
        enrol.Account(name="x-1", role="emperor"),
        enrol.Account(name="x-1", role="staff"),
        enrol.Account(name="x-1", role="screen", team="floor"),
        enrol.Account(name="x-1", role="staff", team="floor/#"),
        enrol.Account(name="x-1", role="vendor"),
        enrol.Account(name="agent", role="agent"),
        enrol.Account(name="agent", role="screen"),
    ],
)
def test_a_role_without_what_it_needs_is_refused(folder: Path, account: enrol.Account) -> None:
    """Unknown roles, missing or foreign teams, and the gateway's own names get no certificate."""
    with pytest.raises(enrol.EnrolError):
        _add(folder, account)


def test_a_second_authority_is_refused(folder: Path) -> None:
    """Setting a store up twice would lock every device out, so it is not done."""
    with pytest.raises(enrol.EnrolError):
        enrol.initialise(folder, "s1", hosts=[], now=now())


def test_keys_are_readable_by_their_owner_alone(folder: Path) -> None:
    """The authority's key and the roster are the owner's; the broker reads what it must."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["ca.key"] == modes["roster.json"] == 0o600
    assert modes["server.key"] == modes["passwords"] == modes["mosquitto.acl"] == 0o640


def test_no_password_is_stored(folder: Path) -> None:
    """What is handed over once is on no file of the folder."""
    _, password = enrol.add(folder, enrol.Account(name="till-1", role="pos"), now=now())
    assert all(password not in path.read_text() for path in folder.iterdir())


def test_a_vendors_topics_are_the_agents_to_read(folder: Path) -> None:
    """Enrolling a vendor's device lets the agent read what it publishes, until it is revoked."""
    _add(folder, enrol.Account(name="x-1", role="vendor", publish="xovis/one/#"))
    assert "topic read xovis/one/#" in _block(folder, "agent")
    enrol.revoke(folder, "x-1", now=now())
    assert "xovis" not in (folder / "mosquitto.acl").read_text()


def test_revoking_twice_or_a_stranger_changes_nothing(folder: Path) -> None:
    """A device stays revoked, whatever is asked of it afterwards."""
    _add(folder, enrol.Account(name="d-1", role="device"))
    enrol.revoke(folder, "d-1", now=now())
    enrol.revoke(folder, "d-1", now=now())
    enrol.revoke_earlier(folder, "d-1", now=now())
    assert _revoked(folder) == set(enrol.find(folder, "d-1").serials)
    with pytest.raises(enrol.EnrolError):
        enrol.revoke(folder, "d-2", now=now())


def test_a_renewal_keeps_the_present_certificate_until_it_is_finished(folder: Path) -> None:
    """Both certificates are good between `device` and `finish`; then the newest alone."""
    _add(folder, enrol.Account(name="d-1", role="device"))
    rotate_keys.renew_device(folder, "d-1", now=now())
    first, second = enrol.find(folder, "d-1").serials
    assert _revoked(folder) == set()
    enrol.revoke_earlier(folder, "d-1", now=now())
    assert _revoked(folder) == {first}
    assert second not in _revoked(folder)


def test_due_names_what_expires_within_the_notice(folder: Path) -> None:
    """The earliest comes first; what lasts longer, holds a password or is revoked is not named."""
    for name, days in (("late-1", 400), ("soon-2", 50), ("soon-1", 20), ("gone-1", 20)):
        account = enrol.Account(name=name, role="device")
        enrol.add_certificate(folder, account, now=now(), days=days)
    enrol.revoke(folder, "gone-1", now=now())
    assert [name for name, _ in rotate_keys.due(folder, now=now())] == ["soon-1", "soon-2"]
    in_ten_years = now() + timedelta(days=3640)
    assert "(authority)" in [name for name, _ in rotate_keys.due(folder, now=in_ten_years)]


def test_the_revocation_list_lasts_as_long_as_the_authority(folder: Path) -> None:
    """A store that nobody visits for years is not locked out by a list that expired."""
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    revocations = x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())
    assert revocations.next_update_utc == authority.not_valid_after_utc


def test_the_command_refuses_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal is exit code 1 and a sentence, no traceback."""
    assert enrol.main(["--folder", str(folder), "add", "a/b", "--role", "device"]) == 1
    assert rotate_keys.main(["--folder", str(folder), "device", "stranger"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[1] == "rotate_keys: stranger is not enrolled"


def _block(folder: Path, name: str) -> str:
    blocks = (folder / "mosquitto.acl").read_text().split("user ")
    return next(block for block in blocks if block.startswith(f"{name}\n"))


def _revoked(folder: Path) -> set[int]:
    return {one.serial_number for one in x509.load_pem_x509_crl((folder / "crl.pem").read_bytes())}
