"""Takes recorded decisions again, from their records, and says where something else comes out.

What a record cannot hold is taken from where it lies on the disk: the model from the bundle whose
version the record names, a zone's products and the policy's numbers from the terms that the row
names, the goods from HQ's feed as it was then, the chain's rules from the policies that were
kept. How a decision is taken again: `again`. A record is right when its bytes are made again.
Whether it is still as it was written, and its row with it: `receipts`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from edge_agent.domain.rules import Rules
from edge_agent.replay.again import NO_WHOLE_RECORD, Knowledge, record_again

_MOST_OF_A_VALUE: Final = 160
NO_RULES: Final[Mapping[str, Rules]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in a record that comes out in another way.

    Attributes:
        what: The record's key, or `record` when it cannot be taken again at all.
        recorded: What the record says, or the reason.
        recomputed: What came out; empty when nothing could.
    """

    decision: str
    what: str
    recorded: str
    recomputed: str = ""


class Verifier:
    """Takes decisions again that one model, one catalogue and one policy took."""

    def __init__(self, known: Knowledge, rules: Mapping[str, Rules] = NO_RULES) -> None:
        """Makes a verifier.

        Args:
            known: What decisions rest on beside their records.
            rules: The chain's rules that were in force, by version, beside those of `known`.
        """
        self._known = known
        self._by_version = {known.rules.version: known, **_each_known(known, rules)}

    def lacks(self, told: dict[str, Any]) -> str | None:
        """Returns the rules that a record names and nothing is known of; None when there are none.

        Args:
            told: The record, decoded.
        """
        rules = told.get("rules")
        version = rules.get("version") if isinstance(rules, dict) else None
        return None if version is None or str(version) in self._by_version else str(version)

    def differences(self, decision: str, record: str) -> list[Difference]:
        """Returns where taking a decision again leads elsewhere; empty when nowhere.

        Args:
            decision: The id under which it is kept.
            record: Its record's text.
        """
        version = self._known.scorer.version
        try:
            told = json.loads(record)
            if told["model"] != version:
                why = f"decided by {told['model']}, here is {version}"
                return [Difference(decision=decision, what="record", recorded=why)]
            other = self._other_rules(told)
            if other is not None:
                return [Difference(decision=decision, what="record", recorded=other)]
            again = record_again(told, self._known_of(told))
        except NO_WHOLE_RECORD as error:
            why = f"it is no whole record: {type(error).__name__} {error}"
            return [Difference(decision=decision, what="record", recorded=why)]
        if again == record and told["decision"] == decision:
            return []
        made = json.loads(again)
        found = [
            Difference(
                decision=decision, what=key, recorded=_text(told.get(key)), recomputed=_text(value)
            )
            for key, value in made.items()
            if told.get(key) != value
        ]
        if told["decision"] != decision:
            found.append(Difference(decision=decision, what="id", recorded=told["decision"]))
        return found or [Difference(decision=decision, what="record", recorded="other bytes")]

    def _known_of(self, told: dict[str, Any]) -> Knowledge:
        """Returns what a decision rested on, with the rules that it names if they are there."""
        rules = told.get("rules") or {}
        return self._by_version.get(str(rules.get("version")), self._known)

    def _other_rules(self, told: dict[str, Any]) -> str | None:
        """Returns why the rules at hand are not those that decided; None when they are."""
        if "rules" not in told:
            return None
        rules = self._known_of(told).rules
        was = (told["rules"]["version"], told["rules"]["digest"])
        if was == (rules.version, rules.digest):
            return None
        return f"decided under rules {was[0]} {was[1][:12]}, here is {rules.version}"


def _each_known(known: Knowledge, rules: Mapping[str, Rules]) -> dict[str, Knowledge]:
    return {version: replace(known, rules=each) for version, each in rules.items()}


def _text(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[:_MOST_OF_A_VALUE]}…"
