"""What a decision costs beside the bare model call: 200 candidates, 50 campaigns, 20 rules.

Both are timed in turn in one thread, by that thread's processor time: what others do on the
machine falls on neither. The decision is the whole of it but the disk: request, features, model,
conditions in CEL, gates, campaigns, caps, order, reasons of what is said, and its record. Once
more with all that a policy may ask besides: a control group of each campaign, a rule by price, and
exploration; every moment is of another unit then, so that some get the store's default. No
ranking that is remembered is of use: more visitors than that come in turn, and each holds other
things.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import numpy as np

from edge_agent.domain.decisions import Cause, Moment, Place
from edge_agent.domain.ids import ProductId, ScreenId, UnitId, VisitorId, ZoneId
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import ms_from_datetime
from edge_agent.engine.deciding import decision_on
from edge_agent.engine.draft import Draft
from edge_agent.shell.bundles import Bundle, load_bundle
from edge_agent.shell.catalogue import BundleDepartments, Feed, StoreCatalogue, StoreDepartments
from edge_agent.shell.rule_files import rules_of
from edge_agent.shell.scorers import REMEMBERED_ANSWERS, ModelScorer
from tests.bench.measured import Aim, Measured
from tests.bench.scoring import ARTIFACTS, NOW, requests
from tests.bench.setting import Setting
from tests.factories import layout, policy
from tests.fakes import World

TITLE: Final = "A decision under rules"
N_RULES: Final = 20
N_CAMPAIGNS: Final = 50
PER_CAMPAIGN: Final = 5
CANDIDATES_LEAST: Final = 200
ALL: Final = "all"
AIM: Final = Aim("most", 2.5)

_RULE: Final = """
[rules.r{n}]
when = 'hour >= {hour} && zone == "dairy" && basket_size > {size}'
departments = ["{department}"]
weight = {weight}
"""
_MORE: Final = """
[control]
share = 0.2
[exploration]
share = 0.1
[rules.cheap]
price_below = 3
weight = 1.2
"""
_CAMPAIGN: Final = """
[campaigns.c{n}]
kind = "offer"
from = "{begin}"
until = "{end}"
products = [{products}]
text = "Offer {n}"
value = {value}
when = 'hour > {hour} && weekday != {day}'
{limits}
"""


def rules_for(bundle: Bundle, more: str = "") -> Rules:
    """Returns rules on the bundle's own products, and more: half of the campaigns have limits."""
    known = _popular(bundle)
    departments = sorted({bundle.catalogue[each].department for each in known} - {""})
    text = ['version = "bench-1"\n', more]
    for n in range(N_RULES):
        department = departments[n % len(departments)]
        weight = 1 + n / N_RULES
        text.append(
            _RULE.format(n=n, hour=n % 12, size=n % 5, department=department, weight=weight)
        )
    for n in range(N_CAMPAIGNS):
        products = ", ".join(f'"{each}"' for each in known[n * 7 : n * 7 + PER_CAMPAIGN])
        text.append(
            _CAMPAIGN.format(
                n=n,
                begin=(NOW - timedelta(days=1)).date(),
                end=(NOW + timedelta(days=7)).date(),
                products=products,
                value=1 + n / N_CAMPAIGNS,
                hour=n % 20,
                day=n % 7,
                limits="budget = 1000\nper_visitor = 3" if n % 2 else "",
            )
        )
    return rules_of("".join(text), name="bench")


def measure(setting: Setting) -> tuple[Measured, ...]:
    """Measures decisions with rules and without against the bare model call."""
    bundle = load_bundle(ARTIFACTS)
    asked = requests(bundle)["anonymous"]
    matrices = [bundle.scorer.describe(each).matrix for each in asked]
    # As many rows as the promise speaks of, at least.
    kept = [n for n, each in enumerate(matrices) if len(each) >= CANDIDATES_LEAST]
    if len(kept) <= REMEMBERED_ANSWERS:
        raise RuntimeError("an answer would be remembered: make more requests")
    moments = [_moment(n, asked[n].basket) for n in kept]
    matrices = [matrices[n] for n in kept]
    store = _store(bundle)
    of_names = {"with": rules_for(bundle), "without": NEUTRAL, ALL: rules_for(bundle, _MORE)}
    found: dict[str, list[list[float]]] = {name: [] for name in of_names}
    bare: dict[str, list[list[float]]] = {name: [] for name in of_names}
    for _ in range(setting.sized(3, quick=1)):
        for name, rules in of_names.items():
            store.rules = rules
            context = store.context()
            ours, theirs = _in_turn(
                lambda n, context=context: decision_on(Draft(store.state, context), moments[n]),  # type: ignore[misc]
                lambda n: bundle.scorer.score(matrices[n]),
                len(kept),
            )
            found[name].append(ours)
            bare[name].append(theirs)
    return tuple(
        _line(name, share, found[name], bare[name]) for name in of_names for share in (50, 99)
    )


def _line(name: str, share: int, ours: list[list[float]], theirs: list[list[float]]) -> Measured:
    what = "no rules" if name == "without" else f"{N_RULES} rules and {N_CAMPAIGNS} campaigns"
    if name == ALL:
        what += ", control groups, a price rule and exploration"
    return Measured(
        name=f"a decision under {what}, p{share}",
        unit="ms",
        values=tuple(_quantile(each, share) for each in ours),
        baseline=tuple(_quantile(each, share) for each in theirs),
        against="bare ONNX call",
        aim=AIM if name == "with" and share == 99 else None,
        note=f"{CANDIDATES_LEAST}-300 candidates; processor time of the one thread, in turn",
    )


def _quantile(times: list[float], share: int) -> float:
    return round(float(np.percentile(times, share)), 3)


def _in_turn(
    ours: Callable[[int], object], theirs: Callable[[int], object], n: int
) -> tuple[list[float], list[float]]:
    # A pass to warm up: an agent has looked up every product's department after some minutes.
    for index in range(n):
        ours(index)
    gc.collect()
    # As the agent does when it has started: what is there for good is looked through no more.
    gc.freeze()
    found: tuple[list[float], list[float]] = ([], [])
    for index in range(n):
        for times, call in zip(found, (ours, theirs), strict=True):
            start = time.thread_time()
            call(index)
            times.append(1e3 * (time.thread_time() - start))
    gc.unfreeze()
    return found


def _moment(n: int, basket: tuple[ProductId, ...]) -> Moment:
    return Moment(
        kind="item_handled",
        cause=Cause(source="bench", id=f"e{n}"),
        place=Place(
            channel="screen", screen=ScreenId("dairy-1"), zone=ZoneId("dairy"), audience="public"
        ),
        visitor=VisitorId(f"v{n}"),
        in_basket=basket,
    )


def _popular(bundle: Bundle) -> list[ProductId]:
    request = replace(requests(bundle)["anonymous"][0], basket=(), limit=2_000)
    return [each.product for each in bundle.scorer.popular(request)]


def _store(bundle: Bundle) -> World:
    """Returns a store in memory that sells the bundle's goods and ranks with its model."""
    store = World(layout=layout(), products=(), policy=policy(), now_ms=ms_from_datetime(NOW))
    departments = StoreDepartments({}, BundleDepartments(bundle.catalogue))
    store.memory.departments = lambda: departments  # type: ignore[method-assign]  # as the agent's
    # Each of a time slot of his own: in one all would be in the same arms.
    store.memory.unit_of = lambda visitor: UnitId(f"s{visitor}")  # type: ignore[method-assign]
    store.scorer = ModelScorer(bundle)
    store.catalogue = StoreCatalogue(  # type: ignore[assignment]  # the real one
        bundle.catalogue,
        fed=Feed(),
        may_rank=bundle.scorer.knows,
        layout=store.layout,
        currency="USD",
    )
    return store
