"""What was said to somebody over all channels, what came of it, and how often campaigns were used.

A contact is one decision that said something on a screen, a receipt or in a reply, or one message
that HQ sent by a channel of its own and told of. The caps count contacts, wherever they happened.
What a screen said to several people at once is a contact with each of them; of what came of it
nobody knows by whom, so it is neither taken up nor ignored by anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from edge_agent.domain.ids import CampaignId, ProductId, VisitorId

# What may come of a contact, the best first. Shown is not yet an answer: nobody need have looked.
ANSWERS: Final = ("bought", "redeemed", "tapped", "dismissed")
IGNORED: Final = "ignored"
SHOWN: Final = "shown"
# Ids of contacts that HQ told of begin so; no decision's does.
HQ_PREFIX: Final = "hq/"
TAKEN_UP: Final = frozenset({"bought", "redeemed", "tapped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Something that was said to somebody.

    Attributes:
        id: The decision's id, or for one that HQ told of `hq/` and a mark.
        at_ms: When it was decided or sent.
        channel: `screen`, `receipt`, `reply`; or HQ's, such as `app` and `e-mail`. Empty once its
            decision is purged: of it only the campaigns are known that have a limit.
        products: What it named.
        campaigns: Whose words it was; empty for a plain recommendation.
        outcomes: What came of it: kind, and the product that it was about; None for all of it.
        missed: Campaigns that would have been said, were this not their control group: what sells
            best stood in their place. They were not said, and count as often as if.
        whose: The visitor that it was decided for, who was taken for its person or is he; None
            for what HQ told of and for what was said to several at once.
    """

    id: str
    at_ms: int
    channel: str
    products: tuple[ProductId, ...] = ()
    campaigns: tuple[CampaignId, ...] = ()
    outcomes: frozenset[tuple[str, ProductId | None]] = frozenset()
    missed: tuple[CampaignId, ...] = ()
    whose: VisitorId | None = field(default=None, compare=False)

    @property
    def is_hqs(self) -> bool:
        """Whether HQ told of it: what came of it is HQ's to say too."""
        return self.id.startswith(HQ_PREFIX)

    @property
    def is_faded(self) -> bool:
        """Whether all but its campaigns is purged: what came of it is not known any more."""
        return not self.channel

    @property
    def says_something(self) -> bool:
        """Whether anything was said: where only a text was missed, nothing need have been."""
        return self.is_hqs or bool(self.products or self.campaigns)

    @property
    def is_shared(self) -> bool:
        """Whether it was said to several people at once."""
        return self.whose is None and not self.is_hqs

    @property
    def order(self) -> tuple[int, str]:
        """Sorts contacts by time."""
        return (self.at_ms, self.id)

    @property
    def is_taken_up(self) -> bool:
        """Whether anything that it named was bought, redeemed or tapped."""
        return any(kind in TAKEN_UP for kind, _ in self.outcomes)

    def answer_to(self, product: ProductId | None = None) -> str:
        """Returns the best answer that a product got, or all of it; `ignored` where none came."""
        about = {
            kind
            for kind, named in self.outcomes
            if product is None or named is None or named == product
        }
        return next((kind for kind in ANSWERS if kind in about), IGNORED)

    @property
    def answer_to_text(self) -> str:
        """Returns the best answer that names no product; `ignored` where none came."""
        about = {kind for kind, named in self.outcomes if named is None}
        return next((kind for kind in ANSWERS if kind in about), IGNORED)

    def with_outcome(self, kind: str, product: ProductId | None) -> Contact:
        """Returns the contact with one more outcome."""
        return replace(self, outcomes=self.outcomes | {(kind, product)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignUses:
    """How often a campaign was said and redeemed in this store.

    Attributes:
        given: How often it was said to somebody in all: one for each decision that chose it. The
            store's defaults are for nobody, and count nothing.
        redeemed: How many of its offers were redeemed in all.
        days: The same by store-local day.
    """

    given: int = 0
    redeemed: int = 0
    days: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    def given_on(self, day: str) -> int:
        """Returns how often it was said on a store-local day."""
        return self.days.get(day, (0, 0))[0]

    def redeemed_on(self, day: str) -> int:
        """Returns how many of its offers were redeemed on a store-local day."""
        return self.days.get(day, (0, 0))[1]

    def with_more(self, day: str, *, given: int = 0, redeemed: int = 0) -> CampaignUses:
        """Returns the uses with more of them on a day."""
        before = self.days.get(day, (0, 0))
        days = {**self.days, day: (before[0] + given, before[1] + redeemed)}
        return CampaignUses(
            given=self.given + given,
            redeemed=self.redeemed + redeemed,
            days=MappingProxyType(days),
        )


UNUSED: Final = CampaignUses()


def n_ignored(contacts: Iterable[Contact], product: ProductId, *, until_ms: int) -> int:
    """Returns how often a product was named to somebody without any answer.

    A purchase or a tap of it wipes out what was ignored before: he wants it after all.

    Args:
        contacts: All that was said to him, in any order.
        product: The product.
        until_ms: Contacts from this instant on still wait for their answer.
    """
    n = 0
    for contact in sorted(contacts, key=lambda each: each.order):
        if product not in contact.products:
            continue
        answer = contact.answer_to(product)
        if answer in TAKEN_UP:
            n = 0
        elif answer == "dismissed" or contact.at_ms < until_ms:
            n += 1
    return n


def channels_answered(contacts: Iterable[Contact]) -> tuple[str, ...]:
    """Returns the channels on which somebody took up something, in ascending order."""
    return tuple(sorted({each.channel for each in contacts if each.is_taken_up}))
