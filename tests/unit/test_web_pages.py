"""Escaping, guarding, judging and collecting: the parts of the pages that need no network."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime

import pytest

from edge_agent.web import inbox as inboxes
from edge_agent.web.feedback import DECISIONS_PER_SCREEN, Ledger, ScreenAnswer, screen_event
from edge_agent.web.guard import may_be_called
from edge_agent.web.inbox import Inbox
from edge_agent.web.pages import json_block, screen_page, staff_page, static_files, store_page
from edge_agent.web.streams import Listeners
from edge_agent.web.strings import LOCALES, strings
from edge_agent.wire import topics
from edge_agent.wire.screens import Recommendation

EVIL = "</script><script>alert(1)</script><b a='\"'>&amp;"


def recommendation(decision: str) -> Recommendation:
    """Returns a content with one product."""
    return Recommendation.model_validate_json(
        json.dumps(
            {
                "decision": decision,
                "cause": {"source": "s", "id": "e"},
                "screen": "s1",
                "issued": "2026-05-04T09:00:00Z",
                "valid_until": "2026-05-04T09:01:00Z",
                "audience": "public",
                "locale": "en",
                "items": [
                    {
                        "rank": 1,
                        "product": "p1",
                        "title": "x",
                        "reason": {"code": "popular", "text": "x"},
                    }
                ],
                "model": "m",
                "policy": "p",
            }
        )
    )


@pytest.mark.parametrize(
    "page",
    [
        screen_page(EVIL, "en", {"screen": EVIL}),
        staff_page(EVIL, EVIL, "fi", {"team": EVIL}),
        store_page(EVIL, "en", {"screens": [EVIL]}, is_index=True),
    ],
    ids=["screen", "staff", "store"],
)
def test_page_has_only_its_own_scripts(page: str) -> None:
    """Names in the title, in the body and in the first state are escaped or part of its JSON."""
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<b a=" not in page
    block = re.search(r'id="initial">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    assert EVIL in json.loads(block[1]).values() or EVIL in json.loads(block[1])["screens"]


def test_json_block_reads_back_as_it_was() -> None:
    """The escaping is JSON's own, so nothing is lost."""
    value = {"a": EVIL, "b": "\u2028\u2029<!--", "c": [1, None]}
    text = json_block(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)


def test_every_language_says_everything() -> None:
    """The languages have the same words and the same places for numbers."""
    english = LOCALES["en"]
    for words in LOCALES.values():
        assert words.keys() == english.keys()
        for key, text in words.items():
            assert text.count("{n}") == english[key].count("{n}")
    assert strings("fi-FI") is LOCALES["fi"]
    assert strings("xx") is english


def test_scripts_use_words_that_exist_and_nothing_that_makes_markup() -> None:
    """Every word a script asks for is in the table; none writes HTML or loads from outside."""
    scripts = {k: v[0].decode() for k, v in static_files().items() if k.endswith(".js")}
    assert scripts.keys() >= {"art.js", "link.js", "screen.js", "staff.js", "store.js"}
    for text in scripts.values():
        for word in re.findall(r'say\("([a-z_]+)"', text):
            assert word in LOCALES["en"]
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("):
            assert forbidden not in text
        addresses = re.findall(r"https?://[^\"'` ]+", text)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8480", True),
        ("[::1]:8480", True),
        ("localhost", True),
        ("gateway.local:8480", True),
        ("GATEWAY.local", True),
        ("evil.example", False),
        ("gateway.local.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[::1", False),
        ("evil.example@127.0.0.1", True),
    ],
)
def test_only_our_names_are_served(host: str, *, expected: bool) -> None:
    """A name that a foreign site could point at us is refused; an address is not such a name."""
    assert may_be_called(host, frozenset({"gateway.local"})) is expected


def test_ledger_believes_each_thing_once_and_only_what_was_sent() -> None:
    """A repeat is known, a stranger's decision or product is not."""
    ledger = Ledger()
    shown = ScreenAnswer(kind="shown", decision="d1")
    assert ledger.judge("s1", shown) == "unknown"
    ledger.sent("s1", recommendation("d1"))
    assert ledger.judge("s1", shown) == "news"
    ledger.sent("s1", recommendation("d1"))
    assert ledger.judge("s1", shown) == "repeat"
    assert ledger.judge("s2", shown) == "unknown"
    tapped = ScreenAnswer(kind="tapped", decision="d1", product="p1")
    assert ledger.judge("s1", tapped) == "news"
    assert ledger.judge("s1", tapped) == "repeat"
    stranger = ScreenAnswer(kind="tapped", decision="d1", product="p9")
    assert ledger.judge("s1", stranger) == "unknown"


def test_ledger_forgets_the_oldest_decisions() -> None:
    """It holds a fixed number of a screen's decisions."""
    ledger = Ledger()
    for number in range(DECISIONS_PER_SCREEN + 1):
        ledger.sent("s1", recommendation(f"d{number}"))
    assert ledger.judge("s1", ScreenAnswer(kind="shown", decision="d0")) == "unknown"
    assert ledger.judge("s1", ScreenAnswer(kind="shown", decision="d1")) == "news"


def test_same_answer_makes_same_event() -> None:
    """A repeat after a restart has the same id, so that the agent can drop it."""
    answer = ScreenAnswer(kind="shown", decision="d1")
    first = screen_event("s42", "s1", answer, at=datetime(2026, 5, 4, tzinfo=UTC))
    again = screen_event("s42", "s1", answer, at=datetime(2026, 5, 5, tzinfo=UTC))
    other = screen_event("s42", "s1", ScreenAnswer(kind="dismissed", decision="d1"), at=None)
    assert first.id == again.id != other.id
    assert re.fullmatch("[0-9a-f]{32}", first.id)


def test_inbox_keeps_order_while_it_has_room() -> None:
    """Nothing is overtaken that the board could still take; only the first wakes it."""
    inbox = Inbox()
    topic = topics.recommendation("s42", "s1")
    assert inbox.put(topic, b"1", is_retained=True)
    assert not inbox.put(topic, b"2", is_retained=False)
    assert [each.payload for each in inbox.take_all()] == [b"1", b"2"]
    assert inbox.put(topic, b"3", is_retained=False)


def test_full_inbox_keeps_newest_contents_and_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old contents of a screen give way before any alert, and are still counted."""
    monkeypatch.setattr(inboxes, "WAITING_MAX", 10)
    inbox = Inbox()
    inbox.put(topics.alert("s42", "floor"), b"a1", is_retained=False)
    inbox.put(topics.alert("s42", "floor"), b"a2", is_retained=False)
    for number in range(1_000):
        inbox.put(topics.recommendation("s42", "s1"), str(number).encode(), is_retained=False)
        assert len(inbox) <= 10
    taken = inbox.take_all()
    assert [each.payload for each in taken[:2]] == [b"a1", b"a2"]
    assert taken[-1].payload == b"999"
    assert sum(1 + each.n_replaced for each in taken[2:]) == 1_000
    assert inbox.n_dropped == 0


def test_inbox_is_bounded_in_bytes_and_counts_what_it_drops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alerts have no newest that would do for all, so the oldest go."""
    monkeypatch.setattr(inboxes, "WAITING_BYTES_MAX", 1_000)
    inbox = Inbox()
    for _ in range(100):
        inbox.put(topics.alert("s42", "floor"), b"x" * 100, is_retained=False)
    assert sum(len(each.payload) for each in inbox.take_all()) <= 1_000
    assert inbox.n_dropped >= 90


def test_mailbox_holds_names_of_what_changed_and_only_its_own() -> None:
    """A thousand changes of a screen are one for a page that was slow; others' are none."""

    async def scenario() -> None:
        listeners = Listeners()
        with listeners.listening(frozenset({"screen:a"})) as mailbox:
            for _ in range(1_000):
                listeners.tell({"screen:a", "store"})
            assert await mailbox.take(timeout_s=1) == {"screen:a"}
            listeners.tell({"screen:b"})
            assert await mailbox.take(timeout_s=0) == frozenset()
            assert len(listeners) == 1
        assert len(listeners) == 0

    asyncio.run(scenario())


def test_closing_wakes_every_listener() -> None:
    """A stream that waits for news ends when the server does."""

    async def scenario() -> None:
        listeners = Listeners()
        with listeners.listening(None) as mailbox:
            waiting = asyncio.create_task(mailbox.take(timeout_s=60))
            await asyncio.sleep(0)
            listeners.close()
            assert await waiting == frozenset()
            assert listeners.is_closed
        with listeners.listening(None) as late:
            assert await late.take(timeout_s=60) == frozenset()

    asyncio.run(scenario())


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_texts_keep_the_contrast_of_wcag_aa() -> None:
    """Every tone that a reason is written in, and each other text colour, has 4.5 to 1 or more.

    Source: WCAG 2.2, success criterion 1.4.3 and its definition of relative luminance.
    """
    base = static_files()["base.css"][0].decode()
    named = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", base.partition("* {")[0]))
    tones = dict(re.findall(r"\.tone-([a-z]+) \{ --tone: (#[0-9a-f]{6})", base))
    assert len(tones) == 6
    # Yellow cannot be read on paper: that tone's reason has a colour of its own.
    sun = re.search(
        r"\.tone-sun \.reason \{ --tone-ink: (#[0-9a-f]{6})",
        static_files()["screen.css"][0].decode(),
    )
    assert sun is not None
    tones["sun"] = sun[1]
    pairs = [(colour, named["paper"]) for colour in tones.values()]
    pairs += [(named["ink-soft"], named["paper-deep"]), (named["ink"], named["tag"])]
    pairs += [("#fff8ea", named["red"]), ("#8c1a15", named["paper-deep"])]
    pairs += [("#fff8e6", named["green"]), (named["red"], "#fffcf4"), ("#5c4a16", "#fff3cf")]
    for text, ground in pairs:
        assert _contrast(text, ground) >= 4.5, (text, ground)
