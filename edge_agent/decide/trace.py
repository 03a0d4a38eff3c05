"""The record of a decision: what was so when it was taken, in canonical JSON; nothing measured.

What many decisions share (model, rules, goods, the agent's numbers) is named or kept beside it.

The same inputs give the same bytes, so that a replay can be compared with what was decided.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.audience import company_document
from edge_agent.domain.decisions import Concern
from edge_agent.domain.identity import once_each
from edge_agent.domain.ids import DecisionId
from edge_agent.domain.scoring import PastBasket, ScoringRequest
from edge_agent.domain.time import datetime_from_ms, ms_from_datetime

if TYPE_CHECKING:
    from edge_agent.domain.decisions import Candidate, Cause, Moment, Place, Suppression
    from edge_agent.domain.ids import ProductId

# Crockford's base 32, as ULIDs use it: sorts as its numbers do, no letters that are misread.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_DIGITS: Final = 10
_CHANCE_DIGITS: Final = 16
_CHANCE_BYTES: Final = 10
_BITS_PER_DIGIT: Final = 5
# Digits of a probability in a record: more than a calibrated model can tell apart.
PROPENSITY_DIGITS: Final = 6
# Candidates whose text is kept: those of some hundred of the scorer's answers.
_KEPT_CANDIDATES: Final = 1_024

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def decision_id_from(
    cause: Cause, kind: str, place: Place, *, now_ms: int, seed: str
) -> DecisionId:
    """Returns the id (in ULID's form) of the decision on one moment: no chance is involved.

    Source: the ULID specification, 48 bits of milliseconds and 80 bits that tell ids apart.
    """
    where = place.screen or place.register or place.team or ""
    text = f"{seed}\x00{cause.source}\x00{cause.id}\x00{kind}\x00{place.channel}\x00{where}"
    chance = int.from_bytes(blake2b(text.encode(), digest_size=_CHANCE_BYTES).digest(), "big")
    return DecisionId(_base32(now_ms, _TIME_DIGITS) + _base32(chance, _CHANCE_DIGITS))


def lowest_id_at(instant_ms: int) -> DecisionId:
    """Returns the id that every decision taken at or after an instant is not under."""
    return DecisionId(_base32(instant_ms, _TIME_DIGITS) + _ALPHABET[0] * _CHANCE_DIGITS)


def record_of(
    decision: DecisionId,
    moment: Moment,
    *,
    now_ms: int,
    request: ScoringRequest | None,
    candidates: tuple[Candidate, ...],
    suppressions: tuple[Suppression, ...],
    chosen: tuple[Candidate, ...],
    popular: tuple[ProductId, ...],
    level: str,
    model: str,
    policy: str,
    seed: str,
    hq_silent_days: int | None = None,
    action_probability: float = 1.0,
    arm: str = "treated",
    left_ms: int | None = None,
    rules: dict[str, Any] | None = None,
) -> str:
    """Returns the record as canonical JSON: sorted keys, no white space.

    The days without HQ stand in it where somebody is identified, whom that concerns; what was
    left of the time where that was too little for the model; `rules` where there are some, with
    all that was known and weighed under them.
    """
    place = moment.place
    document: dict[str, Any] = {
        "decision": decision,
        "moment": moment.kind,
        "now": now_ms,
        "cause": {"source": moment.cause.source, "id": moment.cause.id},
        "place": {
            "channel": place.channel,
            "screen": place.screen,
            "register": place.register,
            "team": place.team,
            "zone": place.zone,
            "audience": place.audience,
        },
        "visitor": moment.visitor,
        "visit": moment.visit,
        "member": moment.member,
        "request": None if request is None else _request(request),
        "ruled_out": [[each.product, each.gate, each.reason] for each in suppressions],
        "chosen": [each.scored.product for each in chosen],
        "popular": list(popular),
        "level": level,
        "model": model,
        "policy": policy,
        "seed": seed,
        "dwell_ms": moment.dwell_ms,
    }
    if place.device is not None:
        document["place"]["device"] = place.device
    if moment.concern is not None:
        document["concern"] = asdict(moment.concern)
    if moment.company is not None:
        document["company"] = company_document(moment.company)
    numbers = {"hq_silent_days": hq_silent_days, "left_ms": left_ms}
    document |= {name: value for name, value in numbers.items() if value is not None}
    if rules is not None:
        document["rules"] = rules
        if moment.holder is not None:
            # Only caps count him, and without rules there are none of a person's.
            document["holder"] = moment.holder
    if rules is None:
        texts = ",".join([_text_of(each) for each in candidates])
    else:
        # Weighed anew for each moment: none of them comes again, and one call is ten times less.
        texts = _ENCODER.encode([_told(each) for each in candidates])[1:-1]
    # The first keys in order; without exploration one action is taken with certainty.
    head = f'{{"action_probability":{action_probability!r},"arm":"{arm}","candidates":[{texts}],'
    return head + _ENCODER.encode(document)[1:]


def request_from(record: dict[str, Any]) -> ScoringRequest | None:
    """Returns what the scorer was asked for a decision, from its record.

    None where it was asked for nothing, or for a zone's products, which a record only counts.
    """
    stored = record["request"]
    if stored is None or stored["zone_products"] is not None:
        return None
    return ScoringRequest(
        now=datetime_from_ms(record["now"]),
        hour=stored["hour"],
        weekday=stored["weekday"],
        week=stored["week"],
        store=stored["store"],
        basket=tuple(stored["basket"]),
        history=tuple(
            PastBasket(at=datetime_from_ms(at_ms), products=tuple(products))
            for at_ms, products in stored["history"]
        ),
        limit=stored["limit"],
    )


def concern_from(stored: dict[str, Any]) -> Concern:
    """Returns what help was wanted with, from a record or a call's row."""
    return Concern(**{**stored, "departments": tuple(stored["departments"])})


def _request(request: ScoringRequest) -> dict[str, Any]:
    return {
        "hour": request.hour,
        "weekday": request.weekday,
        "week": request.week,
        "store": request.store,
        "basket": list(request.basket),
        "history": [[ms_from_datetime(each.at), list(each.products)] for each in request.history],
        "zone_products": None if request.zone_products is None else len(request.zone_products),
        "limit": request.limit,
    }


@once_each(_KEPT_CANDIDATES)
def _text_of(candidate: Candidate) -> str:
    return _ENCODER.encode(_told(candidate))


def _told(candidate: Candidate) -> list[Any]:
    told = [
        candidate.scored.product,
        round(candidate.scored.propensity, PROPENSITY_DIGITS),
        candidate.value,
        candidate.context,
        candidate.lever,
        round(candidate.score, PROPENSITY_DIGITS),
        candidate.scored.reason,
    ]
    return told if candidate.campaign is None else [*told, candidate.campaign.id]


def _base32(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        text = _ALPHABET[number & (2**_BITS_PER_DIGIT - 1)] + text
        number >>= _BITS_PER_DIGIT
    return text
