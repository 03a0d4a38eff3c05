"""What `conformance pos` says of a till that keeps the contract, and of each way not to."""

from __future__ import annotations

import pytest

from edge_agent.conformance.contract import TILL
from edge_agent.conformance.findings import Finding, exit_code
from edge_agent.conformance.person import Nobody
from edge_agent.conformance.reading import Told, told_in
from edge_agent.conformance.till_checks import findings
from edge_agent.conformance.till_desk import ANOTHER_ID, Desk
from edge_agent.conformance.till_run import TillRun, TillSettings
from edge_agent.conformance.till_scenario import STEPS, steps_of
from edge_agent.conformance.transcript import Heard, Place, place_of
from tests.vendor_till import VendorTill
from tests.vendor_world import START, OwnWorld

STORE, TILL_ID = "bench", "pos-2"
# Each fault of a till, and the one line that tells it.
FAULTS = {
    "another topic": "topic",
    "qos 0": "delivery",
    "retained": "delivery",
    "no basket": "schema",
    "another source": "source",
    "one id for two": "ids",
    "new id for repeats": "one-id",
    "an hour ahead": "time",
    "no time": "time",
    "card as id": "personal",
    "card as product": "personal",
    "a name in a field": "personal",
    "an address in a field": "personal",
    "line before open": "order",
    "line after sale": "order",
    "voids too much": "voids",
    "sells what was voided": "lines",
    "gross totals": "totals",
    "tax twice": "totals",
    "two currencies": "currency",
    "card without basket": "card",
    "card as a beacon": "card",
    "another card": "card",
    "asks now and then": "asks",
    "never repeats": "repeats",
    "takes any receipt": "others-receipt",
    "never stops": "stops",
    "ignores refusals": "refused",
    "asks without correlation": "request",
    "asks nowhere": "request",
    "asks for others": "request",
    "asks malformed": "request",
    "shows no answer": "reply",
    "prints no offer": "offer",
    "prints all": "offer-over",
    "prints broken offers": "offer-over",
    "no weights": "weighed",
    "no discounts": "discount",
    **{f"tells no {each.name}": each.name for each in STEPS if not each.is_optional},
}
OPTIONAL = {each.name for each in STEPS if each.is_optional}


def tried(
    fault: str = "", *, asks: bool = True, scenario: str = "all", asks_always: bool = False
) -> tuple[Finding, ...]:
    """Returns what is found of a till with a fault; it is its own cashier."""
    world = OwnWorld()
    till = VendorTill(world, STORE, TILL_ID, fault, asks)
    world.device = till
    steps = steps_of(scenario)
    assert not isinstance(steps, str)
    settings = TillSettings(
        source=TILL_ID, run="run-1", step_s=20.0, repeat_within_s=5.0, asks_always=asks_always
    )
    run = TillRun(world, Place(store=STORE), settings, till)
    return findings(run.play(steps, lambda *_: None))


def wrong(found: tuple[Finding, ...]) -> list[str]:
    """Returns the checks that do not hold."""
    return [each.check for each in found if each.verdict == "wrong"]


def test_till_that_keeps_the_contract_is_right_in_every_line() -> None:
    """All checks are tried, and all hold."""
    found = tried()
    assert [each.check for each in found] == list(TILL)
    assert [each for each in found if each.verdict != "ok"] == []
    assert exit_code(found) == 0


@pytest.mark.parametrize(("fault", "check"), FAULTS.items())
def test_each_fault_makes_exactly_its_line_wrong(fault: str, check: str) -> None:
    """A till that is wrong in one way is told so in one line."""
    found = tried(fault)
    assert wrong(found) == [check], [each for each in found if each.verdict == "wrong"]


def test_every_line_has_a_fault_that_makes_it_wrong() -> None:
    """No check is there that nothing can fail, but for what many tills cannot do."""
    assert {*FAULTS.values(), *OPTIONAL, "heard"} == set(TILL)


@pytest.mark.parametrize("step", sorted(OPTIONAL))
def test_what_many_tills_cannot_do_is_not_wrong(step: str) -> None:
    """Silence of an optional step is said to be no answer."""
    found = {each.check: each for each in tried(f"tells no {step}")}
    assert found[step].verdict == "not tried"
    assert wrong(tuple(found.values())) == []


def test_till_without_receipts_is_not_tried_for_them() -> None:
    """Who asks for no receipts is not blamed for not repeating."""
    found = {each.check: each for each in tried(asks=False)}
    for name in ("asks", "repeats", "others-receipt", "stops", "refused"):
        assert found[name].verdict == "not tried", name
    assert wrong(tuple(found.values())) == []


def test_till_whose_configuration_asks_gets_receipts_all_the_same() -> None:
    """With `--receipts` a till that sets no flag is tried for them too."""
    found = {each.check: each for each in tried("good: asks by configuration", asks_always=True)}
    for name in ("asks", "repeats", "others-receipt", "stops", "refused"):
        assert found[name].verdict == "ok", name


def test_kiosk_that_only_asks_is_judged_by_its_requests() -> None:
    """Who tells no events, but asks, is tried for that alone."""
    found = {each.check: each for each in tried(scenario="ask")}
    held = {each.check for each in found.values() if each.verdict == "ok"}
    assert held == {"request", "reply", "ask"}
    assert wrong(tuple(found.values())) == []


def test_only_the_steps_that_are_named_are_played() -> None:
    """The others are said not to be asked for."""
    found = {each.check: each for each in tried(scenario="open,add,complete")}
    assert wrong(tuple(found.values())) == []
    assert found["void"].came == "it was not asked for"
    assert found["complete"].verdict == "ok"


def test_tax_on_top_of_the_lines_belongs_to_the_total() -> None:
    """Who says that its lines have no tax in them adds it to the total."""
    assert wrong(tried("good: tax on top")) == []


@pytest.mark.parametrize("fault", ["a long id", "a broken id"])
def test_an_id_that_is_no_name_is_told_and_gets_no_receipt(fault: str) -> None:
    """No receipt can name it; the report says what is wrong with it, and all else."""
    found = {each.check: each for each in tried(fault)}
    assert found["schema"].verdict == "wrong"
    assert found["return"].verdict == "ok"


@pytest.mark.parametrize("fault", ["no numbers", "boundless numbers"])
def test_numbers_that_are_none_are_told_and_end_no_run(fault: str) -> None:
    """Who divides by nothing sends NaN: the report says so, of that and of all else."""
    found = {each.check: each for each in tried(fault)}
    assert found["schema"].verdict == "wrong"
    assert found["weighed"].verdict == "wrong"
    assert found["return"].verdict == "ok"


def test_silent_till_is_told_in_one_line_of_its_messages() -> None:
    """Of a till that says nothing, what its messages must be is not tried."""
    world = OwnWorld()
    settings = TillSettings(source=TILL_ID, run="run-1", step_s=5.0)
    run = TillRun(world, Place(store=STORE), settings, Nobody())
    found = findings(run.listen(5.0, lambda *_: None))
    assert wrong(found) == ["heard"]
    assert {each.verdict for each in found if each.check != "heard"} == {"not tried"}


def test_desk_withholds_misleads_gives_and_refuses() -> None:
    """The first event's receipt comes once it was told after another's; the second is refused."""
    desk = Desk()
    assert desk.receipt_for(_asking("a", at_s=1.0), at_s=1.0) is None
    assert not desk.is_done
    assert desk.receipt_for(_asking("b", at_s=2.0), at_s=2.0) == ("b", "refused")
    assert desk.receipt_for(_asking("c", at_s=2.0), at_s=2.0) == ("c", "committed")
    # Two tellings wait at once: the second one was said before the other's receipt.
    assert desk.receipt_for(_asking("a", at_s=3.0), at_s=5.0) == (ANOTHER_ID, "committed")
    assert desk.receipt_for(_asking("a", at_s=4.0), at_s=5.0) is None
    assert desk.receipt_for(_asking("a", at_s=6.0), at_s=6.0) == ("a", "committed")
    assert desk.is_done


def _asking(event_id: str, *, at_s: float) -> Told:
    payload = (
        f'{{"specversion":"1.0","id":"{event_id}","source":"pos-2","type":"basket.opened",'
        f'"receipt":true,"data":{{"basket":"1"}}}}'
    )
    return told_in(Heard(at_s=at_s, at=START, topic="", payload=payload.encode()))[0]


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("store/s42", Place(store="s42")),
        ("store/s42/", Place(store="s42")),
        ("lab/store/s42", Place(store="s42", mount="lab/")),
        ("s42", None),
        ("store/", None),
        ("mystore/s42", None),
        ("+/store/s42", None),
        ("store/#", None),
    ],
)
def test_topic_prefix_names_a_place_or_none(prefix: str, place: Place | None) -> None:
    """A prefix ends in store/NAME; what stands before it is the mount."""
    assert place_of(prefix) == place
