"""Law of help: staff are told of what a known person does only while he allows it."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from tests.factories import CARD, PHONE, entered, event, granted, ref, scanned_card, till, world

PURPOSE: Final = "staff_assistance"
LONG_S: Final = 200
WHO: Final = {"phone": ref("ble", PHONE), "card": ref("loyalty", CARD)}

words = st.tuples(st.sampled_from(sorted(WHO)), st.booleans())


@given(said=st.lists(words, max_size=8), is_linked=st.booleans(), presses=st.booleans())
def test_staff_are_told_as_he_last_said(
    said: list[tuple[str, bool]], *, is_linked: bool, presses: bool
) -> None:
    """His newest word holds, his telephone's no is his, and a button is always answered."""
    heard = world()
    heard.take(granted(-60, purposes=("profiling",)))
    if is_linked:
        heard.take(till("basket.opened", 0, visitor=ref()), scanned_card(1))
    newest: dict[str, bool] = {}
    for n, (who, yes) in enumerate(said):
        kind = "consent.granted" if yes else "consent.withdrawn"
        data: dict[str, Any] = {"visitor": WHO[who], "purposes": [PURPOSE]}
        heard.take(event(kind, 2 + n, source="desk", **data))
        newest[who] = yes
    heard.take(entered("wine", 20))
    found = heard.pass_s(LONG_S)
    if presses:
        found += heard.take(event("help.requested", LONG_S, source="button-1", zone="wine"))
    alerts = [each for each in heard.published(found) if "/staff/" in each.topic]
    his_phone, his_card = newest.get("phone"), newest.get("card")
    is_allowed = his_phone is not False and (his_card is True or not is_linked)
    assert len(alerts) == int(is_allowed) + int(presses)
