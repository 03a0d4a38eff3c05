"""Limited offers: given once to somebody with a code, redeemed at most once at this store's tills.

A code is made from the decision that gave it, under a key of the store: nobody can guess it, and
a decision that is taken again gives the same. The store keeps a digest of it under the same key,
so that whoever reads its database can redeem nothing. Who holds the code may redeem it: an offer
knows to whom it was said, but not who he is at the till.

Somebody may hold several codes of one offer: before the public nothing rests on what he holds from
elsewhere, and he may have had one before it was known who he is. They are one offer: to take one
takes them all. What he is given after that is another offer.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.domain.ids import BasketId, CampaignId, DecisionId, ProductId, VisitorId
from edge_agent.domain.time import SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from edge_agent.domain.rules import Campaign

Judgement = Literal["good", "used", "expired", "unknown"]
"""What a till is told of a code."""

GOOD: Final = "good"
USED: Final = "used"
EXPIRED: Final = "expired"
UNKNOWN: Final = "unknown"

# Crockford's base 32: no letter that is misread for a figure or another.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BITS_PER_DIGIT: Final = 5
# 60 bits: against 10,000 offers that are out, a guess is right once in 10^14.
CODE_DIGITS: Final = 12
_CODE_BYTES: Final = 8
_MARK_BYTES: Final = 16
_CODE_PURPOSE: Final = b"offer code"
_MARK_PURPOSE: Final = b"offer mark"
_MISREAD: Final = str.maketrans({"I": "1", "L": "1", "O": "0", "-": None, " ": None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """That an offer was used.

    Attributes:
        by: The request or event that did it, as its source and a mark: the same again is the same.
            Empty where another code of the offer was taken, or who used it was forgotten.
        basket: The basket that it went into; None where the till named none.
    """

    at_ms: int
    by: str
    basket: BasketId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One limited offer, as the store keeps it.

    Attributes:
        mark: The keyed digest of its code.
        products: What was offered.
        decision: The decision that gave it; None once its person was forgotten.
        visitor: To whom it was said; None for nobody in particular.
        valid_until_ms: The instant from which it is over.
    """

    mark: str
    campaign: CampaignId
    products: tuple[ProductId, ...]
    given_at_ms: int
    valid_until_ms: int
    decision: DecisionId | None = None
    visitor: VisitorId | None = None
    redeemed: Redemption | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenOffer:
    """An offer with its code, which leaves in a message and is never written down here."""

    code: str
    offer: Offer


def offer_from(
    campaign: Campaign,
    *,
    decision: DecisionId,
    products: tuple[ProductId, ...],
    visitor: VisitorId,
    now_ms: int,
    key: bytes,
) -> GivenOffer | None:
    """Returns the limited offer that a decision gives; None where nothing of it is limited.

    It ends with its campaign at the latest.

    Args:
        campaign: What is offered.
        decision: Gives one offer of a campaign at most.
        products: Those that it names of the campaign.
        visitor: To whom.
        now_ms: When.
        key: The store's, for codes of offers.
    """
    if campaign.redeem_within_s is None:
        return None
    code = code_of(decision, campaign.id, key=key)
    until_ms = now_ms + campaign.redeem_within_s * SECOND_MS
    offer = Offer(
        mark=mark_of_code(code, key=key),
        campaign=campaign.id,
        products=products,
        given_at_ms=now_ms,
        valid_until_ms=min(until_ms, campaign.ends_at_ms),
        decision=decision,
        visitor=visitor,
    )
    return GivenOffer(code=code, offer=offer)


def said_again(
    known: Iterable[Offer],
    campaign: CampaignId,
    *,
    now_ms: int,
    key: bytes,
    others: Collection[Offer] = (),
) -> GivenOffer | None:
    """Returns the offer of a campaign that somebody holds and may still use; the last to end.

    Args:
        known: Those that may be said.
        campaign: Of which.
        now_ms: The present.
        key: The store's, for codes of offers.
        others: What else is his: with one of these an offer may be taken already.
    """
    held = [
        each
        for each in known
        if each.campaign == campaign
        and each.redeemed is None
        and each.valid_until_ms > now_ms
        and taken_with(each, others) is None
    ]
    for offer in sorted(held, key=lambda each: (-each.valid_until_ms, each.mark)):
        if offer.decision is not None:
            return GivenOffer(code=code_of(offer.decision, campaign, key=key), offer=offer)
    return None


def taken_with(offer: Offer, others: Iterable[Offer]) -> Redemption | None:
    """Returns the use of another code by which an offer was taken too; None where none was.

    That is the first use of its campaign since it was given: until then both were open.

    Args:
        offer: One that was not used itself.
        others: All that its person was given, under any name.
    """
    used = (
        each.redeemed
        for each in others
        if each.campaign == offer.campaign and each.mark != offer.mark
    )
    since = (each for each in used if each is not None and each.at_ms > offer.given_at_ms)
    first = min(since, key=lambda each: each.at_ms, default=None)
    return None if first is None else Redemption(at_ms=first.at_ms, by="")


def mark_of_code(code: str, *, key: bytes) -> str:
    """Returns the digest under which the store knows a code, however a person spelt it.

    Example:
        >>> mark_of_code("0ab1-c", key=b"k") == mark_of_code("OABI C", key=b"k")
        True
    """
    spelt = code.upper().translate(_MISREAD)
    digest = blake2b(spelt.encode(), key=key, digest_size=_MARK_BYTES, person=_MARK_PURPOSE)
    return digest.hexdigest()


def judged(offer: Offer | None, *, by: str, now_ms: int) -> Judgement:
    """Returns what an offer is to whoever asks: `good`, `used`, `expired` or `unknown`.

    Args:
        offer: What is known of its code.
        by: Who asks; who redeemed it hears again that it was good.
        now_ms: The agent's present, which no clock that is set wrong moves on.
    """
    if offer is None:
        return UNKNOWN
    if offer.redeemed is not None:
        return GOOD if offer.redeemed.by == by else USED
    return EXPIRED if now_ms >= offer.valid_until_ms else GOOD


def code_of(decision: DecisionId, campaign: CampaignId, *, key: bytes) -> str:
    """Returns the code of the offer that a decision gave of a campaign."""
    text = f"{decision}\x00{campaign}".encode()
    digest = blake2b(text, key=key, digest_size=_CODE_BYTES, person=_CODE_PURPOSE).digest()
    number = int.from_bytes(digest, "big")
    digits = []
    for _ in range(CODE_DIGITS):
        digits.append(_ALPHABET[number & (2**_BITS_PER_DIGIT - 1)])
        number >>= _BITS_PER_DIGIT
    return "".join(digits)
