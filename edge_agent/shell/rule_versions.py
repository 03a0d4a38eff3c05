"""The versions of rules that are kept, each as it was written, for as long as anything names it.

A decision names the version that it was taken under. So a version stays while it is in force, and
after that until all that was decided by then is purged: `until_ms` says up to when decisions may
name it, and `shell.retention` deletes it with them. As long as it is kept its name stands for no
other contents.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from edge_agent.domain.rules import Rules
    from edge_agent.ports import UnitOfWork

# The policy itself; and that with HQ's campaigns in it, which decides where there are any.
POLICY: Final = "policy"
JOINED: Final = "joined"

_KEPT: Final = "SELECT version, digest, since_ms, until_ms IS NULL FROM rule_set"
_TEXT: Final = "SELECT text FROM rule_set WHERE version = ?"
_IS_OPEN: Final = "SELECT until_ms IS NULL FROM rule_set WHERE version = ?"
# Whatever the clock did, no decision under what is in force is younger.
_NEWEST: Final = "SELECT at_ms FROM decision ORDER BY id DESC LIMIT 1"


class Kept(NamedTuple):
    """A version: its contents' digest, and since when it is kept."""

    digest: str
    since_ms: int


class _InUse(NamedTuple):
    version: str
    kept: Kept
    text: str


class RuleVersions:
    """Versions by name, and which of them are in force."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._in_use: dict[str, _InUse] = {}
        # In force as far as the database says.
        self._open: set[str] = set()

    def read(self, unit: UnitOfWork) -> None:
        """Reads which versions are kept, at the agent's start and after a purge."""
        rows = unit.query(_KEPT)
        self._kept = {str(row[0]): Kept(str(row[1]), int(row[2])) for row in rows}
        self._kept.update({each.version: each.kept for each in self._in_use.values()})
        self._open |= {str(row[0]) for row in rows if row[3]}

    def text_of(self, version: str, unit: UnitOfWork) -> str | None:
        """Returns what a version says; None of one that is not kept."""
        rows = unit.query(_TEXT, (version,))
        return unpacked(rows[0][0]) if rows else None

    def other_of(self, rules: Rules) -> Kept | None:
        """Returns what stands under the name of these rules with other contents; None if free."""
        kept = self._kept.get(rules.version)
        return None if kept is None or kept.digest == rules.digest else kept

    def use(
        self, role: str, rules: Rules | None, text: str, unit: UnitOfWork, *, now_ms: int
    ) -> None:
        """Keeps what is in force from now on, and notes up to when decisions name what was.

        Args:
            role: `POLICY` or `JOINED`.
            rules: What is in force; None for nothing of the sort.
            text: As it was written.
            unit: Takes the rows.
            now_ms: The present.
        """
        if rules is None:
            self._in_use.pop(role, None)
        elif role not in self._in_use or self._in_use[role].version != rules.version:
            known = self._kept.get(rules.version)
            if known is None or rules.version not in self._open:
                known = self._kept[rules.version] = Kept(rules.digest, now_ms)
                self._write(_InUse(rules.version, known, text), unit)
            self._in_use[role] = _InUse(rules.version, known, text)
        self._close_others(unit, now_ms)

    def is_used(self, role: str) -> bool:
        """Returns whether anything is in force in a role."""
        return role in self._in_use

    def write_again(self, unit: UnitOfWork) -> None:
        """Writes what is in force and not on the disk, after a batch was taken back."""
        for each in self._in_use.values():
            if unit.query(_IS_OPEN, (each.version,)) != [(1,)]:
                self._write(each, unit)

    def _write(self, used: _InUse, unit: UnitOfWork) -> None:
        row = (used.version, used.kept.digest, packed(used.text), used.kept.since_ms)
        unit.add("rule_set", row)
        unit.add("rule_set_until", (None, used.version))
        self._open.add(used.version)

    def _close_others(self, unit: UnitOfWork, now_ms: int) -> None:
        over = sorted(self._open.difference(each.version for each in self._in_use.values()))
        if not over:
            return
        newest_ms = max((int(at_ms) for (at_ms,) in unit.query(_NEWEST)), default=now_ms)
        for version in over:
            unit.add("rule_set_until", (max(now_ms, newest_ms), version))
            self._open.discard(version)


def packed(text: str) -> bytes:
    """Returns a text in few bytes: with each of HQ's campaigns a policy's is written anew."""
    return zlib.compress(text.encode())


def unpacked(stored: bytes | str) -> str:
    """Returns a text again as it was written; a recorded day of an older agent has it so."""
    return stored if isinstance(stored, str) else zlib.decompress(stored).decode()
