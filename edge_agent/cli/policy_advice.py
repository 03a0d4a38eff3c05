"""What to do where `edge-agent policy evaluate` could not find out, by why it could not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from edge_agent.offpolicy.evaluation import ENOUGH, LEAST_SUPPORTED, TOO_FEW, TOO_LITTLE
from edge_agent.replay.counterfactual import Lack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.offpolicy.evaluation import Evaluation
    from edge_agent.replay.counterfactual import Row

SET_SHARE: Final = (
    "nothing was explored: set `share` under [exploration] in policy.toml (0.05, say), let the"
    " store run, and ask again"
)
SINCE: Final = (
    "most of it was decided before anything was explored, or with nothing else to take: ask again"
    " when more is logged"
)
MORE_CANDIDATES: Final = (
    "most of it was not among the candidates that a decision explores: raise `n_logged_candidates`"
    " under [policy] in the agent's file, let the store run, and ask again"
)
OFFERS: Final = (
    "most of it are offers that the store did not make then, or products that it offered"
    " otherwise: let the store run with these campaigns, under [exploration], and ask again"
)
STORE_SILENT: Final = (
    "it mostly speaks where the store said nothing, and what comes of that nobody knows: loosen"
    " what silenced it in the store's policy.toml, let the store run, and ask again"
)
NO_RECORD: Final = (
    "most of it was decided without rules, and what conditions ask of was not recorded: ask again"
    " when more is logged under rules"
)
RAISE_SHARE: Final = (
    "raise `share` under [exploration] in policy.toml, or ask again when more is logged"
)
WAIT: Final = "ask again when more was answered"
ALL_CONTROL: Final = (
    "in all of it what sells best stood for control groups, where nothing is explored: ask again"
    " when others were answered too, or lower `control_share`"
)
RULES_GONE: Final = (
    "all of it was decided under rules that are not kept any more: say with --rules which to"
    " evaluate the bundle under"
)
NOTHING: Final = "ask again when visits have ended that were shown something"
DISTRUST: Final = "take decisions again with `edge-agent replay --verify`: the log may be damaged"
HINTS: Final = {
    Lack.NOT_EXPLORED: SINCE,
    Lack.NO_CANDIDATE: MORE_CANDIDATES,
    Lack.NO_SUCH_OFFER: OFFERS,
    Lack.STORE_SILENT: STORE_SILENT,
    Lack.NO_RECORD: NO_RECORD,
}
"""What to do about what had no chance, by why it had none."""


def advice_on(found: Evaluation, rows: Sequence[Row], *, n_control: int, n_rules_gone: int) -> str:
    """Returns what to do about a verdict; empty where the numbers can be relied on.

    Args:
        found: What was found out.
        rows: On which decisions.
        n_control: How many others were left out where what sells best stands for a control group.
        n_rules_gone: How many for want of the rules that they were taken under.
    """
    if found.verdict == ENOUGH:
        return ""
    if found.verdict != TOO_LITTLE:
        return WAIT if found.verdict == TOO_FEW else DISTRUST
    if not rows:
        return _why_none(n_control=n_control, n_rules_gone=n_rules_gone)
    is_explored = any(each.is_explored for each in rows)
    if is_explored and found.n_supported >= LEAST_SUPPORTED * (found.n - found.n_silent):
        return RAISE_SHARE
    lacks = Counter(each.lack for each in rows if each.lack is not None)
    lack = max(Lack, key=lambda each: lacks[each])
    # To explore takes rules, whose decisions record what conditions ask of.
    is_cured = not is_explored and lack in {Lack.NOT_EXPLORED, Lack.NO_RECORD}
    return SET_SHARE if is_cured else HINTS[lack]


def _why_none(*, n_control: int, n_rules_gone: int) -> str:
    if n_control:
        return ALL_CONTROL
    return RULES_GONE if n_rules_gone else NOTHING
