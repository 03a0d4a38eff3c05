"""Whether a decision's row is still as it was written, and says what its record says.

Three things are looked at, none of which takes the decision again (`verification` does): the
row's digest, the columns that say what the record says too (caps count by those), and what
follows from the record's own instant in the store's time zone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.time import datetime_from_ms, local_time
from edge_agent.replay.again import NO_WHOLE_RECORD
from edge_agent.replay.verification import Difference
from edge_agent.shell.row_digest import fit_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

RECORD_CHANGED: Final = "its record was changed after it was written"
ROW_CHANGED: Final = "a column beside its record was changed after it was written"
_MINUTES_PER_HOUR: Final = 60
_STAFF: Final = "staff"
_OF_PLACE: Final = ("channel", "audience", "screen", "register", "zone")
# Columns that an older agent's day may lack.
_LATER: Final = frozenset({"campaigns", "missed", "tried"})


def changes_in(row: Mapping[str, Any], told: Any, *, zone: tzinfo) -> list[Difference]:
    """Returns what in a decision's row is not as it was written; empty when all is.

    Args:
        row: Its columns.
        told: Its record, decoded; None where it is no JSON.
        zone: The store's time zone when it was taken.
    """
    decision = str(row["id"])
    found: list[Difference] = []
    fit = fit_of(row)
    if fit is not None and not fit.record:
        found.append(Difference(decision=decision, what="record", recorded=RECORD_CHANGED))
    try:
        beside = _beside(decision, row, _columns_from(told, zone), told)
        inside = _inside(decision, told, zone)
    except NO_WHOLE_RECORD:
        # Taking it again says that it is no whole record.
        beside, inside = [], []
    if fit is not None and not fit.beside and not beside:
        found.append(Difference(decision=decision, what="row", recorded=ROW_CHANGED))
    return [*found, *beside, *inside]


def _beside(
    decision: str, row: Mapping[str, Any], columns: dict[str, Any], told: dict[str, Any]
) -> list[Difference]:
    """Returns the columns that say something else than the record."""
    others = [
        (name, row[name], value)
        for name, value in columns.items()
        if not (name in _LATER and name not in row) and row[name] != value
    ]
    if row.get("member") is not None and not _is_told_with(row["member"], told):
        others.append(("member", row["member"], told.get("holder") or told["member"]))
    elif row.get("digest") is not None and row.get("member") is None and _tells_another(told):
        others.append(("member", None, told["member"] or told["holder"]))
    return [
        Difference(
            decision=decision,
            what=name,
            recorded=f"the row says {_plain(said)}, its record {_plain(value)}",
        )
        for name, said, value in others
    ]


def _columns_from(told: dict[str, Any], zone: tzinfo) -> dict[str, Any]:
    """Returns what a row's columns must say, by its record."""
    place, rules = told["place"], told.get("rules", {})
    offers, chosen = rules.get("offers", {}), told["chosen"]
    tried = None
    if rules.get("probabilities"):
        first = f"{chosen[0]} {offers.get(chosen[0], '')}".rstrip()
        tried = f"{local_time(told['now'], zone).day} {first}"
    said = [offers[each] for each in chosen if each in offers]
    if rules.get("notice") is not None:
        said.append(rules["notice"])
    return {
        "id": told["decision"],
        "at_ms": told["now"],
        "moment": told["moment"],
        "visitor": told["visitor"],
        "visit": told["visit"],
        "channel": place["channel"],
        "place": place["screen"] or place["register"] or place["team"],
        "zone": place["zone"],
        "level": told["level"],
        "items": _list(chosen),
        "popular": _list(told["popular"]),
        "campaigns": _list(dict.fromkeys(said)),
        "missed": _list(rules.get("missed", ())),
        "tried": tried,
    }


def _is_told_with(member: str, told: dict[str, Any]) -> bool:
    """Returns whether the record may mean whom the row says was told with the visitor.

    Without rules a record does not say whose card was read with a basket: the digest does.
    """
    if told["member"] is not None:
        return bool(member == told["member"])
    return "rules" not in told or member == told.get("holder")


def _tells_another(told: dict[str, Any]) -> bool:
    """Returns whether something was told to a visitor who was taken for somebody else."""
    who = told["member"] or told.get("holder")
    rules = told.get("rules", {})
    says = told["chosen"] or rules.get("notice") or rules.get("missed")
    is_to_staff = told["place"]["channel"] == _STAFF
    is_other = told["visitor"] is not None and who not in {None, told["visitor"]}
    return bool(says) and is_other and not is_to_staff


def _inside(decision: str, told: dict[str, Any], zone: tzinfo) -> list[Difference]:
    """Returns what in a record does not follow from its own instant and place."""
    must = _following(told, zone)
    return [
        Difference(
            decision=decision,
            what=what,
            recorded=f"it says {_plain(value)}, its instant and place {_plain(must[name])}",
        )
        for what, name, value in _said(told)
        if name in must and must[name] != value
    ]


def _following(told: dict[str, Any], zone: tzinfo) -> dict[str, Any]:
    """Returns what follows from a decision's instant, its place and what was held."""
    local = local_time(told["now"], zone)
    minute = datetime_from_ms(told["now"]).astimezone(zone).minute
    must = {
        "day": local.day,
        "hour": local.hour,
        "minute": minute,
        "minute_of_day": local.hour * _MINUTES_PER_HOUR + minute,
        "weekday": local.weekday,
        "moment": told["moment"],
        **{name: told["place"][name] for name in _OF_PLACE},
    }
    request = told["request"]
    if request is not None:
        must |= {"basket": request["basket"], "basket_size": len(request["basket"])}
    return must


def _said(told: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Returns what a record says of that again: where, what, and which value."""
    known, request = (told.get("rules", {}).get("known") or {}), (told["request"] or {})
    facts = [(f"fact {name}", name, value) for name, value in known.get("facts", {}).items()]
    times = [(name, name, known[name]) for name in ("minute_of_day",) if name in known]
    asked = [(name, name, request[name]) for name in ("hour", "weekday") if name in request]
    return [*facts, *times, *asked]


def _list(values: Any) -> str:
    return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> str:
    return "nothing" if value is None else str(value)
