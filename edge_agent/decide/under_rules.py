"""A decision under the chain's rules, as one pure function of what stands in its record.

    facts -> which rules hold -> which campaigns are for this moment -> caps and control groups
          -> gates of products -> factors -> order -> exploration -> variety

`engine.ruling` gathers what it rests on and calls it; `replay.again` calls it with what a record
holds. So the two cannot disagree. `rule_record` makes the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.decide import campaigns, ladder, offers
from edge_agent.decide.arbitration import slate
from edge_agent.decide.control import assignments_of
from edge_agent.decide.eligibility import refusal_of
from edge_agent.decide.exploration import Action, explored
from edge_agent.decide.gates import Gates, Scene
from edge_agent.decide.lineup import lineup_of, may_notice
from edge_agent.decide.pressure import silence_by_caps
from edge_agent.decide.rule_book import book_of
from edge_agent.domain.decisions import CONTROL, TREATED, Suppression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.decide.campaigns import Shut
    from edge_agent.decide.gates import Shelf
    from edge_agent.decide.known import Known
    from edge_agent.decide.offers import Entry
    from edge_agent.decide.rule_book import Saying
    from edge_agent.domain.decisions import Assignment, Candidate, Moment, Notice
    from edge_agent.domain.ids import CampaignId, DecisionId, ProductId
    from edge_agent.domain.policy import Policy
    from edge_agent.domain.rules import Campaign, Rules
    from edge_agent.domain.scoring import ScoredProduct, ScoringRequest
    from edge_agent.ports import Scorer

RANKED: Final = 40
"""Products that the scorer is asked for under rules. At the median of 200 invented moments the
fortieth is a fifth as likely as the third: only a weight or margin of five puts it before."""
STORE_DEFAULT: Final = "store_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A moment and all that its answer rests on.

    Attributes:
        scored: What the scorer placed, best first; empty as long as it was not asked.
        popular: What sells best, best first.
    """

    decision: DecisionId
    moment: Moment
    now_ms: int
    seed: str
    policy: Policy
    rules: Rules
    known: Known
    scored: tuple[ScoredProduct, ...] = ()
    popular: tuple[ScoredProduct, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the rules say of a moment before anything was scored.

    Attributes:
        saying: What the rules that hold say.
        campaigns: Those that are for this moment.
        shut: Those that are not.
        silence: Why nothing may be said; None when something may.
    """

    saying: Saying
    campaigns: tuple[Campaign, ...] = ()
    shut: tuple[Shut, ...] = ()
    silence: Suppression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What is said of the candidates, and with which probability.

    Attributes:
        logged: The candidates that the record holds, best first.
        probability: With which the first place was taken as it was.
        probabilities: Of the best of `logged`, where it explored.
    """

    logged: tuple[Candidate, ...] = ()
    chosen: tuple[Candidate, ...] = ()
    probability: float = 1.0
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The answer, and what became of everything else.

    Attributes:
        notices: The texts that could be said, best first.
        refused: Products that a gate refused.
        shut: Campaigns that a gate kept out.
        assignments: The arms of those that could have been said.
        n_candidates: How many products competed.
        popular: What popularity alone would have answered: the comparison.
        missed: Campaigns that would have been said, were this not their control group: the answer
            is the store's default in their place, ascending. Empty where it is not.
        prices: Of the products that were looked at, where a rule that holds selects by them.
    """

    outlook: Outlook
    pick: Pick = Pick()
    notices: tuple[Notice, ...] = ()
    notice: Notice | None = None
    refused: tuple[Suppression, ...] = ()
    shut: tuple[Shut, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    n_candidates: int = 0
    popular: tuple[ProductId, ...] = ()
    missed: tuple[CampaignId, ...] = ()
    prices: Mapping[ProductId, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def arm(self) -> str:
        """`control` where a campaign was left out because this is its control group."""
        is_control = any(each.arm == CONTROL for each in self.assignments)
        return CONTROL if is_control else TREATED

    @property
    def campaigns(self) -> tuple[CampaignId, ...]:
        """Whose words are among the answer, each once."""
        said = [each.campaign.id for each in self.pick.chosen if each.campaign]
        if self.notice is not None:
            said.append(self.notice.campaign.id)
        return tuple(dict.fromkeys(said))


def outlook_of(moment: Moment, known: Known, rules: Rules, *, now_ms: int) -> Outlook:
    """Returns what the rules say of a moment; below the rungs that weigh, the strictest.

    There nobody looks whether a condition holds: whatever could be forbidden is, and no campaign
    is said.
    """
    book = book_of(rules)
    is_weighed = known.rung in ladder.WEIGHED
    saying = book.saying(known.facts) if is_weighed else book.strictest
    silence = silence_by_caps(moment, known, rules.caps)
    forbidden = saying.of_all.forbidden
    if silence is None and forbidden is not None and moment.visitor is not None:
        silence = Suppression(product="*", gate="rule", reason=forbidden)
    if silence is not None or not is_weighed:
        return Outlook(saying=saying, silence=silence)
    kept, shut = campaigns.opened(book, saying, moment, known, now_ms=now_ms)
    return Outlook(saying=saying, campaigns=kept, shut=shut)


def ruled(question: Question, outlook: Outlook, shelf: Shelf) -> Ruling:
    """Returns the answer to a question that no cap and no rule silences."""
    rules, known = question.rules, question.known
    allowed, capped = campaigns.within_caps(
        outlook.campaigns, known, rules.caps, now_ms=question.now_ms
    )
    scene = Scene(
        moment=question.moment,
        known=known,
        saying=outlook.saying,
        policy=book_of(rules).policy(question.policy),
        shelf=shelf,
    )
    gates = Gates(scene)
    plain = offers.plain(_in_order(question, shelf), gates, known, rules)
    offered, empty = offers.offered(
        allowed,
        question.scored,
        question.popular,
        gates,
        known,
        rules,
        by_campaign=scene.saying.names_campaigns,
        # What a screen shows to nobody is its default, with an offer too.
        reason=STORE_DEFAULT if question.moment.kind == STORE_DEFAULT else "on_offer",
    )
    assignments = _assignments(allowed, empty, known)
    left_out = frozenset(each.campaign for each in assignments if each.arm == CONTROL)
    texts = offers.notices(allowed, scene.saying, known, rules.caps)
    best, texts, missed = lineup_of(
        [*plain, *offered], texts, left_out, rules, question.popular, gates
    )
    pick = _picked(best, question, gates, may_explore=not missed)
    return Ruling(
        outlook=outlook,
        pick=pick,
        notices=texts,
        notice=offers.first_of(texts) if may_notice(pick.chosen, question.moment) else None,
        refused=tuple(gates.refused),
        shut=(
            *outlook.shut,
            *capped,
            *campaigns.without_products(empty),
            *campaigns.withheld(assignments, missed),
            *campaigns.beside_default(_given_up(allowed, empty, left_out), missed),
        ),
        assignments=assignments,
        n_candidates=len(best),
        popular=_popular(question, scene),
        missed=tuple(sorted(missed)),
        prices=gates.prices,
    )


def unexplained(ruling: Ruling) -> tuple[ProductId, ...]:
    """Returns the products of an answer whose reason the scorer has not said yet."""
    chosen = ruling.pick.chosen
    return tuple(each.scored.product for each in chosen if not each.scored.reason)


def explained(ruling: Ruling, reasons: Mapping[ProductId, str]) -> Ruling:
    """Returns a ruling with the reasons of what it says."""
    if not reasons:
        return ruling
    known: dict[int, Candidate] = {}
    for each in ruling.pick.chosen:
        reason = each.scored.reason or reasons[each.scored.product]
        known[id(each)] = each.because(reason)
    pick = replace(
        ruling.pick,
        chosen=tuple(known[id(each)] for each in ruling.pick.chosen),
        logged=tuple(known.get(id(each), each) for each in ruling.pick.logged),
    )
    return replace(ruling, pick=pick)


def level_of(ruling: Ruling, moment: Moment, known: Known, *, scored_by: str) -> str:
    """Returns how a decision says that it was found; `scored_by` is the scorer's own level."""
    if ruling.missed:
        return "default"
    if known.rung != ladder.MODEL:
        return ladder.LEVELS[known.rung]
    has_scored = moment.kind != STORE_DEFAULT and ruling.n_candidates > 0
    return scored_by if has_scored else "default"


def scored_for(
    scorer: Scorer, request: ScoringRequest, moment: Moment, known: Known
) -> tuple[tuple[ScoredProduct, ...], tuple[ScoredProduct, ...]]:
    """Returns what a scorer places for a moment, and what sells best; the same below the model."""
    if known.rung != ladder.MODEL or moment.kind == STORE_DEFAULT:
        popular = scorer.popular(request)
        return popular, popular
    # Asked alike for everybody of this hour, so that a scorer that remembers need not look again;
    # what somebody holds is kept out by its gate.
    of_all = replace(request, basket=(), history=(), limit=RANKED)
    return scorer.rank(request), scorer.popular(of_all)


def looked_at(question: Question, outlook: Outlook) -> frozenset[ProductId]:
    """Returns every product whose gates a decision may look at."""
    found = frozenset(each.product for each in (*question.scored, *question.popular))
    return found.union(*(each.products for each in outlook.campaigns))


def _popular(question: Question, scene: Scene) -> tuple[ProductId, ...]:
    moment, shelf = question.moment, scene.shelf
    if moment.visitor is None:
        return ()
    passed = (
        each.product
        for each in question.popular
        if refusal_of(
            each.product,
            moment,
            out_of_stock=shelf.out_of_stock,
            departments=shelf.departments,
            product_of=shelf.product,
            policy=scene.policy,
        )
        is None
    )
    return tuple(islice(passed, moment.limit))


def _assignments(
    allowed: tuple[Campaign, ...], empty: list[Campaign], known: Known
) -> tuple[Assignment, ...]:
    if known.unit is None:
        return ()
    nothing = {each.id for each in empty}
    return assignments_of(known.unit, (each for each in allowed if each.id not in nothing))


def _given_up(
    allowed: tuple[Campaign, ...], empty: list[Campaign], left_out: frozenset[CampaignId]
) -> tuple[Campaign, ...]:
    """Returns the campaigns that would have competed beside those of whose control group it is."""
    gone = left_out.union(each.id for each in empty)
    return tuple(each for each in allowed if each.id not in gone)


def _in_order(question: Question, shelf: Shelf) -> tuple[ScoredProduct, ...]:
    known = question.known
    if known.rung != ladder.SEGMENT:
        return question.scored
    return ladder.preferred_first(question.scored, known.preferred, shelf.departments)


def _picked(best: list[Entry], question: Question, gates: Gates, *, may_explore: bool) -> Pick:
    limit = question.moment.limit
    logged = best[: question.policy.n_logged_candidates]
    # Where nobody is, nobody answers, and nothing is to be learnt.
    is_for_somebody = limit > 0 and question.moment.kind != STORE_DEFAULT
    may_explore = may_explore and is_for_somebody and question.known.rung in ladder.WEIGHED
    found = explored(
        [_action(each, question) for each in logged] if may_explore else [],
        exploration=question.rules.exploration,
        decision=question.decision,
        seed=question.seed,
    )
    if found is not None:
        best = [best[found.taken], *best[: found.taken], *best[found.taken + 1 :]]
    shown = slate(best, limit=limit, departments=gates.departments)
    made = {id(each): each.candidate() for each in (*logged, *shown)}
    is_logged = {id(each) for each in logged}
    beyond = (each for each in shown if id(each) not in is_logged)
    return Pick(
        logged=tuple(made[id(each)] for each in (*logged, *beyond)),
        chosen=tuple(made[id(each)] for each in shown),
        probability=1.0 if found is None else found.probability,
        probabilities=() if found is None else found.probabilities,
    )


def _action(entry: Entry, question: Question) -> Action:
    name = _action_name(entry.product, entry.campaign)
    shown, answered = question.known.tried.get(name, (0, 0))
    return Action(
        propensity=entry.propensity,
        worth=entry.value * entry.context * entry.lever,
        shown=shown,
        answered=answered,
    )


def action_of(candidate: Candidate) -> str:
    """Returns the name of an action: the product, and the campaign that offers it."""
    return _action_name(candidate.scored.product, candidate.campaign)


def _action_name(product: ProductId, campaign: Campaign | None) -> str:
    return product if campaign is None else f"{product} {campaign.id}"
