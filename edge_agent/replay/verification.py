"""Takes recorded decisions again, from their records, and says where something else comes out.

What a record cannot hold is taken from where it lies on the disk: the model from the bundle whose
version the record names, a zone's products from the configuration and the catalogue, the
policy's numbers from the configuration. Everything else (the instant, the basket, the history,
who asked, what was ruled out for lack of stock) is the record's own. The stages are those that
decided: scorer, gates, arbitration, trace; a record is right when its bytes are made again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.decide.arbitration import arbitrated
from edge_agent.decide.candidates import CANDIDATES_BEYOND, gated
from edge_agent.decide.eligibility import BEFORE_UNHEARD, UNHEARD, is_unheard, refusal_of
from edge_agent.decide.trace import decision_id_from, record_of, request_from
from edge_agent.domain.decisions import Candidate, Cause, Moment, Place, Suppression
from edge_agent.domain.ids import ProductId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.domain.policy import Policy
    from edge_agent.domain.scoring import ScoringRequest
    from edge_agent.ports import Catalogue, Scorer

STOCK: Final = "stock"
"""The gate whose reason lies outside the record: what the shelves held then."""
_DEFAULT: Final = "store_default"
_MOST_OF_A_VALUE: Final = 160


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

    def __init__(
        self,
        *,
        scorer: Scorer,
        catalogue: Catalogue,
        departments: Mapping[ProductId, str],
        policy: Policy,
    ) -> None:
        self._scorer = scorer
        self._catalogue = catalogue
        self._departments = departments
        self._policy = policy

    def differences(self, decision: str, record: str) -> list[Difference]:
        """Returns where taking a decision again leads elsewhere; empty when nowhere.

        Args:
            decision: The id under which it is kept.
            record: Its record's text.
        """
        try:
            told = json.loads(record)
            if told["model"] != self._scorer.version:
                why = f"decided by {told['model']}, here is {self._scorer.version}"
                return [Difference(decision=decision, what="record", recorded=why)]
            again = self._again(told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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

    def _again(self, told: dict[str, Any]) -> str:
        request = self._request(told)
        hq_silent_days = told.get("hq_silent_days")
        if is_unheard(hq_silent_days, self._policy):
            request = None
        moment = _moment(told, request, self._policy)
        if request is None:
            candidates: tuple[Candidate, ...] = ()
            refused = self._silenced(told, hq_silent_days)
            popular: tuple[ProductId, ...] = ()
            level = "silence" if refused else "rule"
        else:
            stock = frozenset(
                ProductId(each.product) for each in _suppressions(told["ruled_out"], STOCK)
            )
            candidates, refused, level = self._ranked(moment, request, stock)
            popular = self._popular(moment, request, stock)
        policy = self._policy
        return record_of(
            decision_id_from(
                moment.cause, moment.kind, moment.place, now_ms=told["now"], seed=told["seed"]
            ),
            moment,
            now_ms=told["now"],
            request=request,
            candidates=candidates[: policy.n_logged_candidates],
            suppressions=refused,
            chosen=arbitrated(candidates, limit=moment.limit),
            popular=popular,
            level=level,
            model=self._scorer.version,
            policy=policy.version,
            seed=told["seed"],
            hq_silent_days=hq_silent_days,
        )

    def _silenced(
        self, told: dict[str, Any], hq_silent_days: int | None
    ) -> tuple[Suppression, ...]:
        """Returns what ruled everything out; that of HQ's silence follows from its days."""
        recorded = _suppressions(told["ruled_out"])
        if any(each.gate in BEFORE_UNHEARD for each in recorded):
            return recorded
        if is_unheard(hq_silent_days, self._policy):
            return (UNHEARD,)
        return tuple(each for each in recorded if each != UNHEARD)

    def _request(self, told: dict[str, Any]) -> ScoringRequest | None:
        stored = told["request"]
        if stored is None or stored["zone_products"] is None:
            return request_from(told)
        # A record counts a zone's products; which they are is the layout's and the catalogue's.
        whole = request_from({**told, "request": {**stored, "zone_products": None}})
        zone = told["place"]["zone"]
        if whole is None or zone is None:
            return whole
        return replace(whole, zone_products=self._catalogue.products_in(zone))

    def _ranked(
        self, moment: Moment, request: ScoringRequest, stock: frozenset[ProductId]
    ) -> tuple[tuple[Candidate, ...], tuple[Suppression, ...], str]:
        is_default = moment.kind == _DEFAULT
        scored = self._scorer.popular(request) if is_default else self._scorer.rank(request)
        candidates, refused = gated(
            scored,
            moment,
            out_of_stock=stock,
            departments=self._departments,
            policy=self._policy,
        )
        level = "default" if is_default or not candidates else self._scorer.level
        return candidates, refused, level

    def _popular(
        self, moment: Moment, request: ScoringRequest, stock: frozenset[ProductId]
    ) -> tuple[ProductId, ...]:
        if moment.visitor is None:
            return ()
        kept = [
            each.product
            for each in self._scorer.popular(request)
            if refusal_of(
                each.product,
                moment,
                out_of_stock=stock,
                departments=self._departments,
                policy=self._policy,
            )
            is None
        ]
        return tuple(kept[: moment.limit])


def _moment(told: dict[str, Any], request: ScoringRequest | None, policy: Policy) -> Moment:
    basket = () if request is None else request.basket
    return Moment(
        kind=told["moment"],
        cause=Cause(**told["cause"]),
        place=Place(**told["place"]),
        visitor=told["visitor"],
        visit=told["visit"],
        member=told["member"],
        in_basket=basket,
        limit=_limit(told, request, policy),
        dwell_ms=told["dwell_ms"],
    )


def _limit(told: dict[str, Any], request: ScoringRequest | None, policy: Policy) -> int:
    if request is not None and request.limit > policy.n_logged_candidates:
        # What was asked of the scorer is what is shown and a fixed number beyond.
        return request.limit - CANDIDATES_BEYOND - len(request.basket)
    return policy.n_receipt_items if told["place"]["channel"] == "receipt" else policy.n_items


def _suppressions(told: list[list[str]], gate: str | None = None) -> tuple[Suppression, ...]:
    return tuple(
        Suppression(product=product, gate=name, reason=reason)
        for product, name, reason in told
        if gate is None or name == gate
    )


def _text(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[:_MOST_OF_A_VALUE]}…"
