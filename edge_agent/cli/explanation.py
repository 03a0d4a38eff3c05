"""A decision's record in words: one line a fact, and why something was not chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edge_agent.domain.time import SECOND_MS, rfc3339_from_ms

EVERYTHING: Final = "*"
UNPLACED: Final = "unplaced"
UNKNOWN: Final = "unknown"
NOBODY_KNOWS: Final = "no product or campaign of this name is known"
_DIGEST_SHOWN: Final = 12
_PEOPLE: Final = {0: "nobody knows how many", 1: "1 person"}
_US_PER_MS: Final = 1_000
# Where a record has the campaign of a candidate that one offers.
_CAMPAIGN: Final = 7
_FACTORS: Final = ("propensity", "value", "context", "lever")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """Why one product or campaign is not in an answer.

    Attributes:
        outcome: `chosen`, `silence`, `refused`, `lower`, `unplaced`, or `unknown`.
        gate: What kept it out, where a gate did.
        text: The reason, in words.
    """

    wanted: str
    outcome: str
    text: str
    gate: str | None = None


def explanation(
    record: dict[str, Any], outcomes: list[tuple[str, str]], *, spent_us: int | None = None
) -> list[str]:
    """Returns a decision's record in words, one line a fact, and what is kept beside it.

    Args:
        record: Of the decision.
        outcomes: What came of it, and of which product.
        spent_us: How long it took; None where nobody measured it.
    """
    return [
        *_head(record),
        *_before(record),
        *_known(record),
        *_concern(record),
        *_candidates(record),
        *_beside(record),
        *_ruled_out(record),
        *(() if spent_us is None else (f"  took       {_milliseconds(spent_us)} ms",)),
        *(f"  outcome    {kind} {product}".rstrip() for kind, product in outcomes),
    ]


def _milliseconds(spent_us: int) -> str:
    spent_ms = spent_us / _US_PER_MS
    return f"{spent_ms:.1f}" if spent_ms >= 1 else f"{spent_ms:g}"


def why_not(record: dict[str, Any], wanted: str) -> WhyNot:
    """Returns why a product or campaign is not in the answer, as far as its record says."""
    rules = record.get("rules", {})
    said = {*record["chosen"], *rules.get("offers", {}).values(), rules.get("notice")}
    if wanted in said:
        return WhyNot(wanted=wanted, outcome="chosen", text="it was chosen")
    return (
        _kept_out(record, wanted)
        or _lower(record, wanted)
        or WhyNot(wanted=wanted, outcome=UNPLACED, text=_unplaced(record))
    )


def _head(record: dict[str, Any]) -> list[str]:
    place = record["place"]
    where = place["screen"] or place["register"] or place["team"] or place["channel"]
    lines = [
        f"decision {record['decision']} at {rfc3339_from_ms(record['now'])}",
        f"  moment     {record['moment']} on {place['channel']} {where} ({place['audience']}),"
        f" asked for by {record['cause']['source']} {record['cause']['id']}",
        f"  found by   {record['level']} · model {record['model']} · policy {record['policy']}"
        f" · arm {record['arm']} · action probability {record['action_probability']}",
    ]
    rules = record.get("rules")
    if rules is not None:
        held = ", ".join(rules.get("held", ())) or "none"
        digest = rules["digest"][:_DIGEST_SHOWN]
        lines.append(f"  rules      {rules['version']} ({digest}), of which hold: {held}")
    return lines


def _before(record: dict[str, Any]) -> list[str]:
    company = record.get("company")
    if company is None:
        return []
    n_people, held = company["people"], company.get("held")
    people = _PEOPLE.get(n_people, f"{n_people} people")
    heeded = f", an answer to {len(held)} of them together" if held is not None else ""
    what = "screen" if record["place"]["channel"] == "screen" else "device"
    shared = f"at a {company['audience']} {what} (shared by {company['mode']})"
    return [f"  before     {people} {shared}{heeded}"]


def _concern(record: dict[str, Any]) -> list[str]:
    told = {name: each for name, each in record.get("concern", {}).items() if each}
    if not told:
        return []
    values = (", ".join(each) if isinstance(each, list) else each for each in told.values())
    what = (f"{name.replace('_', ' ')} {each}" for name, each in zip(told, values, strict=True))
    return [f"  help with  {' · '.join(what)}, {record['dwell_ms'] / SECOND_MS:g} s there"]


def _known(record: dict[str, Any]) -> list[str]:
    lines = []
    request = record["request"]
    if request is not None:
        history = len(request["history"])
        lines.append(
            f"  rests on   hour {request['hour']}, weekday {request['weekday']},"
            f" {len(request['basket'])} products of this visit,"
            f" {history} earlier baskets{'' if history else ' (none used)'}"
        )
    if record.get("hq_silent_days"):
        lines.append(f"  rests on   headquarters, not heard for {record['hq_silent_days']} days")
    for name, value in sorted(record.get("rules", {}).get("known", {}).items()):
        if name == "facts":
            lines += [f"  fact       {fact} = {each}" for fact, each in sorted(value.items())]
        else:
            lines.append(f"  knows      {name.replace('_', ' ')}: {_plain(value)}")
    return lines


def _costing(record: dict[str, Any], product: str) -> str:
    """Returns what a product cost, where some rule looked at that."""
    price = record.get("rules", {}).get("known", {}).get("prices", {}).get(product)
    return "" if price is None else f"; it costs {price}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(each)}" for name, each in sorted(value.items()))
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    return str(value)


def _candidates(record: dict[str, Any]) -> list[str]:
    rules = record.get("rules", {})
    probabilities = rules.get("probabilities", ())
    tried = _tried(record)
    lines = []
    for rank, candidate in enumerate(record["candidates"], start=1):
        product, *factors, score, reason = candidate[:_CAMPAIGN]
        campaign = _campaign_of(candidate)
        is_tried = rank <= len(probabilities)
        beside = (
            f"first by chance, {rank}. by score" if (product, campaign) == tried else "",
            reason,
            f"offer of {campaign}" if campaign else "",
            _costing(record, product).removeprefix("; "),
            f"probability {probabilities[rank - 1]:.6f}" if is_tried else "",
        )
        told = ", ".join(each for each in beside if each)
        told = f"   ({told})" if told else ""
        mark = "chosen" if _is_chosen(record, product, campaign) else "lower "
        propensity, value, context, lever = factors
        lines.append(
            f"  {mark} {rank:>3}. {product:<12} score {score:.6f} = propensity {propensity:.6f}"
            f" x value {value:g} x context {context:g} x lever {lever:g}{told}"
        )
    return lines


def _tried(record: dict[str, Any]) -> tuple[str, str | None] | None:
    """Returns the product and campaign that chance put first; None where the best stands there."""
    candidates, rules = record["candidates"], record.get("rules", {})
    if not rules.get("probabilities") or not record["chosen"]:
        return None
    product = record["chosen"][0]
    first = (product, rules["offers"].get(product))
    best = (candidates[0][0], _campaign_of(candidates[0]))
    return None if first == best else first


def _campaign_of(candidate: list[Any]) -> str | None:
    return next(iter(candidate[_CAMPAIGN:]), None)


def _is_chosen(record: dict[str, Any], product: str, campaign: str | None) -> bool:
    offers = record.get("rules", {}).get("offers", {})
    return product in record["chosen"] and offers.get(product) == campaign


def _beside(record: dict[str, Any]) -> list[str]:
    rules = record.get("rules", {})
    lines = []
    for campaign, *factors, score in rules.get("notices", ()):
        mark = "beside" if campaign == rules["notice"] else "lower "
        told = " x ".join(f"{name} {each:g}" for name, each in zip(_FACTORS, factors, strict=True))
        lines.append(f"  {mark}      {campaign:<12} score {score:.6f} = {told}   (text)")
    missed = _missed(record)
    if missed:
        lines.append(f"  instead    of campaign {missed}: what sells best, for its control group")
    lines += [
        f"  arm        campaign {campaign}: {arm}"
        for campaign, arm in sorted(rules.get("arms", {}).items())
    ]
    return lines


def _ruled_out(record: dict[str, Any]) -> list[str]:
    lines = [
        f"  ruled out  {'everything' if product == EVERYTHING else product}: {gate}, {reason}"
        f"{_costing(record, product)}"
        for product, gate, reason in record["ruled_out"]
    ]
    for gate, reason, campaigns in record.get("rules", {}).get("shut", ()):
        lines.append(f"  kept out   campaign {', '.join(campaigns)}: {gate}, {reason}")
    return lines


def _kept_out(record: dict[str, Any], wanted: str) -> WhyNot | None:
    for product, gate, reason in record["ruled_out"]:
        if product == EVERYTHING:
            text = f"nothing was said at all: {gate}, {reason}"
            return WhyNot(wanted=wanted, outcome="silence", gate=gate, text=text)
        if product == wanted:
            text = f"it was ruled out: {gate}, {reason}{_costing(record, product)}"
            return WhyNot(wanted=wanted, outcome="refused", gate=gate, text=text)
    for gate, reason, campaigns in record.get("rules", {}).get("shut", ()):
        if wanted in campaigns:
            text = f"it was kept out: {gate}, {reason}"
            return WhyNot(wanted=wanted, outcome="refused", gate=gate, text=text)
    return None


def _lower(record: dict[str, Any], wanted: str) -> WhyNot | None:
    candidates = record["candidates"]
    least = min((each[5] for each in candidates if each[0] in record["chosen"]), default=0.0)
    for rank, each in enumerate(candidates, start=1):
        if wanted in {each[0], *each[7:]}:
            told = " x ".join(
                f"{name} {factor:g}" for name, factor in zip(_FACTORS, each[1:5], strict=True)
            )
            text = (
                f"it came {rank}. with score {each[5]:.6f} = {told}; {_place(record, each, least)}"
            )
            text += _costing(record, each[0])
            return WhyNot(wanted=wanted, outcome="lower", text=text)
    notices = [each[0] for each in record.get("rules", {}).get("notices", ())]
    if wanted in notices:
        text = f"{record['rules']['notice'] or 'no text'} stands beside the products instead"
        ignored = record["rules"].get("known", {}).get("ignored_texts", {})
        if wanted in ignored:
            text = f"it was said {ignored[wanted]} times without any answer; {text}"
        return WhyNot(wanted=wanted, outcome="lower", text=text)
    return None


def _place(record: dict[str, Any], candidate: list[Any], least: float) -> str:
    if candidate[5] > least:
        tried, missed = _tried(record), _missed(record)
        if missed:
            return f"in place of {missed} stands what sells best, varied"
        if tried is None:
            return "it gave way to variety"
        return f"it gave way to variety, or to {tried[0]}, which stands first by chance"
    return f"the last one chosen has {least:.6f}"


def _missed(record: dict[str, Any]) -> str:
    """Returns the campaigns in whose place the store's default stands, for their control group."""
    return ", ".join(record.get("rules", {}).get("missed", ()))


def _unplaced(record: dict[str, Any]) -> str:
    candidates = record["candidates"]
    if not candidates:
        return "a rule answered, and nothing was weighed"
    weighed = record.get("rules", {}).get("n_candidates")
    missed = _missed(record)
    if missed:
        return (
            f"what sells best stands here, in place of {missed} for its control group, and it is"
            f" not among the best-selling {len(candidates)} of {weighed}; nothing else was weighed"
        )
    among = f" of {weighed} that were weighed" if weighed else ""
    return (
        f"it is not among the best {len(candidates)}{among};"
        f" the last of them has score {candidates[-1][5]:.6f}"
    )
