"""Who is left without a campaign, so that it can be known what the campaign does.

Theory of operation. Chance decides once for each *unit* and campaign, and chance is a keyed hash:
the same unit always gets the same arm of the same campaign, on this gateway and after a restart,
and nobody without the store's key can tell which.

A unit is a person, where one is identified, and else the time slot at a place: whoever comes to
the same zone within the same slot shares an arm, so that those who are never identified count
too. Which unit somebody belongs to is fixed at the first moment at which a campaign with a control
group could have been said to him, and is kept with what carries him through the store (his phone,
his track, his basket) for as long as that carrier's pseudonym lives, which for whoever is not
identified is the day. So turning out to be somebody known changes no arm, a late event that
divides or joins visits does not either, and a restart reads it again. Who then asks by his card is
in the unit of his telephone that is in the store, as long as it is, and whatever unit of another
day he holds himself; it stays that one's, whose purchases are counted.

An arm is chance, and says nothing of what is known of a person. So a public screen goes by his arm
too: one visit in two arms of one campaign would measure neither.

Arms are intent to treat: a unit is in its arm from that first moment on, whether or not the
campaign then won against others, was seen or was redeemed. So arms must be asked for after every
other gate, and alike for both: what an arm led to must not decide who is counted in it.

The hash has two steps. The unit's digest is keyed, and stands in each decision's record; the arm
follows from that digest, the campaign's id and the share alone, so that a record can be taken
again without the key. No digest leaves the store. With a larger share nobody leaves the control
group, and with a smaller one nobody joins it.
Source: HMAC (RFC 2104) with SHA-256, cut to 128 bits; BLAKE2b (RFC 7693) of 64 bits.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from edge_agent.domain.decisions import CONTROL, TREATED, Assignment
from edge_agent.domain.ids import UnitId
from edge_agent.domain.time import SECOND_MS
from edge_agent.domain.visitor import UNKNOWN_MEMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.decisions import Moment, Place
    from edge_agent.domain.ids import CampaignId, VisitorId
    from edge_agent.domain.rules import Campaign

PERSON: Final = "p"
SLOT: Final = "s"
_UNIT_HEX_DIGITS: Final = 32
_ARM_BYTES: Final = 8
_ARMS: Final = 1 << 8 * _ARM_BYTES


def unit_of(
    moment: Moment, *, held: UnitId | None, now_ms: int, slot_s: int, key: bytes
) -> UnitId:
    """Returns the unit that a moment belongs to.

    Args:
        moment: Something that asks for a decision.
        held: The unit that the moment's visitor was given before, or what carries him through
            the store now; None where there is none yet.
        now_ms: The present.
        slot_s: Length of a time slot, seconds.
        key: The store's key for units.
    """
    if held is not None:
        return held
    person = moment.counts_to
    if person is not None and person != UNKNOWN_MEMBER:
        return person_unit(person, key=key)
    return slot_unit(moment.place, at_ms=now_ms, slot_s=slot_s, key=key)


def person_unit(person: VisitorId, *, key: bytes) -> UnitId:
    """Returns the unit of an identified person."""
    return _unit(PERSON, person, key=key)


def slot_unit(place: Place, *, at_ms: int, slot_s: int, key: bytes) -> UnitId:
    """Returns the unit of everybody who is at a place within a time slot.

    Args:
        place: Its zone counts, and where it has none the register, screen or team.
        at_ms: An instant in the slot; slots are counted from the epoch.
        slot_s: Length of a slot, seconds.
        key: The store's key for units.
    """
    return _unit(SLOT, slot_of(place, at_ms=at_ms, slot_s=slot_s), key=key)


def slot_of(place: Place, *, at_ms: int, slot_s: int) -> str:
    """Returns what a time slot at a place is called; as `slot_unit`, but no key hides it."""
    where = place.zone or place.register or place.screen or place.team or place.channel
    return f"{where}\x00{at_ms // (slot_s * SECOND_MS)}\x00{slot_s}"


def is_person(unit: UnitId) -> bool:
    """Returns whether a unit is an identified person, and not a time slot."""
    return unit.startswith(PERSON)


def arm_of(unit: UnitId, campaign: CampaignId, *, share: float) -> str:
    """Returns the arm of a unit in a campaign: `CONTROL` for a share of all units.

    Example:
        >>> arm_of(UnitId("s00"), "18", share=0.0), arm_of(UnitId("s00"), "18", share=1.0)
        ('treated', 'control')
    """
    text = f"{campaign}\x00{unit}".encode()
    drawn = int.from_bytes(blake2b(text, digest_size=_ARM_BYTES).digest(), "big")
    return CONTROL if drawn < share * _ARMS else TREATED


def assignments_of(unit: UnitId, campaigns: Iterable[Campaign]) -> tuple[Assignment, ...]:
    """Returns the arm of a unit in each campaign that has a control group, in the order given."""
    return tuple(
        Assignment(
            campaign=each.id,
            arm=arm_of(unit, each.id, share=each.control_share),
            share=each.control_share,
            products=each.products,
        )
        for each in campaigns
        if each.control_share > 0
    )


def _unit(kind: str, text: str, *, key: bytes) -> UnitId:
    digest = hmac.digest(key, f"{kind}\x00{text}".encode(), "sha256").hex()
    return UnitId(kind + digest[:_UNIT_HEX_DIGITS])
