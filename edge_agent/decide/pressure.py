"""Frequency caps and cool-downs over all channels; they hold outside and above every rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.decide.rule_book import book_of
from edge_agent.domain.contacts import IGNORED, TAKEN_UP
from edge_agent.domain.decisions import Suppression
from edge_agent.domain.rules import SERVICE
from edge_agent.domain.time import SECOND_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.decide.known import Known
    from edge_agent.domain.contacts import Contact
    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import CampaignId, ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Campaign, Caps, Rules


def cap_reached(n_decisions: int, *, policy: Policy) -> Suppression | None:
    """Returns a suppression when a visit has had all the decisions that it may have."""
    if n_decisions < policy.max_decisions_per_visit:
        return None
    return Suppression(product="*", gate="cap", reason="enough for one visit")


def is_cooling_down(last_ms: int | None, *, now_ms: int, cooldown_s: int) -> bool:
    """Returns whether the last time is too near for another."""
    return last_ms is not None and now_ms - last_ms < cooldown_s * SECOND_MS


def silence_by_caps(moment: Moment, known: Known, caps: Caps) -> Suppression | None:
    """Returns why nothing may be said to somebody at this time; None when something may.

    Whoever asks is answered in quiet hours too: nobody speaks to him first. A screen's default
    speaks to nobody.
    """
    if moment.visitor is None:
        return None
    if moment.kind != "request" and is_quiet(known.minute_of_day, caps):
        return Suppression(product="*", gate="quiet", reason="nobody is spoken to at this hour")
    most = caps.per_visitor_day
    if most is not None and known.n_contacts_day >= most:
        return Suppression(
            product="*",
            gate="day_cap",
            reason=f"told {known.n_contacts_day} times of {most} today",
        )
    return None


def is_quiet(minute_of_day: int, caps: Caps) -> bool:
    """Returns whether a store-local minute lies in the quiet hours; they may run over midnight."""
    return any(
        begin <= minute_of_day < end
        if begin <= end
        else minute_of_day >= begin or minute_of_day < end
        for begin, end in caps.quiet_hours
    )


def is_cooling(known: Known, caps: Caps, *, now_ms: int) -> bool:
    """Returns whether the last offer to somebody, made or withheld, is too near for another."""
    return caps.cooldown_s > 0 and any(
        is_cooling_down(last_ms, now_ms=now_ms, cooldown_s=caps.cooldown_s)
        for last_ms in (known.last_offer_ms, known.last_missed_ms)
    )


def cap_of(campaign: Campaign, known: Known, caps: Caps, *, now_ms: int) -> tuple[str, str] | None:
    """Returns the gate of a campaign's own limits that it has reached, and why; None for none.

    What a control group missed counts for its visitor as if it had been said, so that it gets the
    store's default as often as the others are told, and no oftener. It is no use of a budget.
    """
    uses = known.uses_of(campaign)
    if campaign.kind != SERVICE and caps.cooldown_s > 0:
        for what, last_ms in (("made", known.last_offer_ms), ("withheld", known.last_missed_ms)):
            if is_cooling_down(last_ms, now_ms=now_ms, cooldown_s=caps.cooldown_s):
                return "cooldown", f"an offer was {what} less than {caps.cooldown_s} s before"
    for gate, most, so_far, missed in (
        ("budget", campaign.budget, uses.total, 0),
        ("per_day", campaign.per_day, uses.today, 0),
        ("per_visitor", campaign.per_visitor, uses.visitor, uses.missed),
    ):
        if most is not None and so_far + missed >= most:
            withheld = f" and withheld {missed}" if missed else ""
            return gate, f"said {so_far}{withheld} times of {most}"
    return None


def last_gated_ms(contacts: Iterable[Contact], rules: Rules) -> int | None:
    """Returns when somebody was last told of what the cool-down gates; None where he never was.

    A service message is not gated, so it begins no new time either. A campaign that the rules do
    not know, such as one that HQ wrote of by e-mail, is taken to be an offer.
    """
    return _last_ms(((each.at_ms, each.campaigns) for each in contacts), rules)


def last_missed_ms(contacts: Iterable[Contact], rules: Rules) -> int | None:
    """Returns when somebody would last have been told of it, were he not in its control group."""
    return _last_ms(((each.at_ms, each.missed) for each in contacts), rules)


def _last_ms(said: Iterable[tuple[int, tuple[CampaignId, ...]]], rules: Rules) -> int | None:
    free = book_of(rules).services
    return max(
        (at_ms for at_ms, campaigns in said if any(name not in free for name in campaigns)),
        default=None,
    )


def ignored_often(
    contacts: Iterable[Contact], *, after: int, until_ms: int
) -> dict[ProductId, int]:
    """Returns the products that were named so often, at least, without any answer.

    A purchase or a tap wipes out what was ignored before; what was sent away counts at once.

    Args:
        contacts: All that was said to somebody, oldest first.
        after: How often at least.
        until_ms: Contacts from this instant on still wait for their answer.
    """
    counts: dict[ProductId, int] = {}
    for contact in contacts:
        for product in contact.products:
            answer = contact.answer_to(product) if contact.outcomes else IGNORED
            n = counts.get(product, 0)
            counts[product] = _n_ignored(n, answer, is_over=contact.at_ms < until_ms)
    return {product: n for product, n in sorted(counts.items()) if n >= after}


def texts_ignored_often(
    contacts: Iterable[Contact], rules: Rules, *, after: int, until_ms: int
) -> dict[CampaignId, int]:
    """Returns the campaigns that are a text and were said as `ignored_often` says of products.

    A text is answered where no product is: what was bought beside it is no answer to it.
    """
    texts = book_of(rules).texts
    counts: dict[CampaignId, int] = {}
    for contact in contacts:
        for campaign in contact.campaigns:
            if campaign in texts:
                n, is_over = counts.get(campaign, 0), contact.at_ms < until_ms
                counts[campaign] = _n_ignored(n, contact.answer_to_text, is_over=is_over)
    return {campaign: n for campaign, n in sorted(counts.items()) if n >= after}


def _n_ignored(before: int, answer: str, *, is_over: bool) -> int:
    """Returns how often something was ignored so far, with one more time that it was named."""
    if answer in TAKEN_UP:
        return 0
    return before + (answer == "dismissed" or is_over)


def lever_of(n_ignored: int, caps: Caps) -> float:
    """Returns what the score of a product or text is multiplied by once ignored so often."""
    has_stepped_back = 0 < caps.ignored_after <= n_ignored
    return caps.ignored_lever if has_stepped_back else 1.0
