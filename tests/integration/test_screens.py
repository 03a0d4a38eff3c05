"""The pages on a real broker and in a real browser: what they show, keep, believe and say."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.web.server import ScreensServer
from edge_agent.wire import topics
from edge_agent.wire.events import EVENT, ScreenShown, ScreenTapped
from edge_agent.wire.staff import StaffFeedback
from tests.integration.broker import Broker, running_broker
from tests.integration.chromium import Chromium, Page, running_chromium
from tests.integration.commands import ran

pytestmark = pytest.mark.broker

STORE = "s42"
WAIT_S = 20.0

# What a product name, a beacon's name, a QR code or a card can carry: markup, script, SQL, topics.
INJECTIONS = (
    "<script>window.hurt=1;alert(1)</script>",
    "<img src=x onerror=\"window.hurt=1;alert('x')\">",
    '"><svg/onload=window.hurt=1>',
    "</script><script>window.hurt=1</script>",
    "<!--<script>",
    "javascript:window.hurt=1",
    "{{constructor.constructor('window.hurt=1')()}} ${window.hurt=1} #{window.hurt=1}",
    "'; DROP TABLE visitors; -- \" OR 1=1",
    "store/+/screen/#/recommendation",
    "<style>body{display:none}</style><base href=//evil.example>",
    "<iframe src=//evil.example></iframe><link rel=stylesheet href=//evil.example>",
    "&lt;b&gt; &amp; &#x3c;script&#x3e; \\u003cscript\\u003e",
    "data: x\n\nevent: update\ndata: {}\n\n",
    "\u202egnp.exe \u2028 \u2029 \ufeff \x1b[31m",
    "W" * 1_900,
)


class Store:
    """A broker, its pages, and somebody who publishes and listens as the agent does."""

    def __init__(self, broker: Broker, server: ScreensServer) -> None:
        self.broker = broker
        self.server = server
        self.heard: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self.link = MqttLink(
            settings(broker, "agent"),
            subscriptions=(
                Subscription(topic_filter=topics.feedback(STORE, "+")),
                Subscription(topic_filter=topics.staff_feedback(STORE, "+")),
            ),
            on_message=self._hear,
        )

    def _hear(self, message: Incoming) -> None:
        with self._changed:
            self.heard.append((message.topic, message.payload))
            self._changed.notify_all()

    def wait_heard(self, n: int) -> list[tuple[str, bytes]]:
        """Returns what the pages said, once there is that much of it."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.heard) >= n, WAIT_S)
            assert done, self.heard
            return list(self.heard)

    def show(self, screen: str, title: str, *, retain: bool = True, **more: Any) -> None:
        """Publishes a recommendation."""
        payload = json.dumps(recommendation(screen, title, **more)).encode()
        self.link.publish(topics.recommendation(STORE, screen), payload, retain=retain)

    def alert(self, team: str, decision: str, **more: Any) -> None:
        """Publishes an alert."""
        now = datetime.now(tz=UTC)
        message = {
            "decision": decision,
            "cause": {"source": "cam-1", "id": "e1"},
            "team": team,
            "kind": "long_dwell",
            "zone": "Wine",
            "issued": now.isoformat(),
            "valid_until": (now + timedelta(minutes=5)).isoformat(),
            "text": "Somebody has been looking for a while.",
            "schema_version": 1,
            **more,
        }
        self.link.publish(topics.alert(STORE, team), json.dumps(message).encode())

    def url(self, path: str) -> str:
        """Returns the address of a page."""
        return self.server.url.rstrip("/") + path

    def until(self, is_true: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until the server's own figures are as they should be."""
        deadline = time.monotonic() + WAIT_S
        while not is_true(figures := json.loads(get(self.server.port, "/health")[1])):
            assert time.monotonic() < deadline, figures
            time.sleep(0.02)


def settings(broker: Broker, client_id: str) -> LinkSettings:
    """Returns how to reach the test's broker."""
    return LinkSettings(
        host=broker.host, port=broker.port, client_id=client_id, session_expiry_s=300
    )


def recommendation(screen: str, title: str, **more: Any) -> dict[str, Any]:
    """Returns a message as the agent sends it; `life_s`, `code`, `at`, any field may be given."""
    life_s = more.pop("life_s", 300.0)
    code = more.pop("code", "bought_together")
    at = more.pop("at", datetime.now(tz=UTC))
    reason = more.pop("reason", "Goes with your basket")
    offer, notice = more.pop("offer", None), more.pop("notice", None)
    terms = more.pop("terms", {})
    ends = (at + timedelta(seconds=life_s)).isoformat()
    item = {
        "rank": 1,
        "product": more.pop("product", "1029743"),
        "title": title,
        "price": {"amount": "1.29", "currency": "EUR"},
        "reason": {"code": code, "text": reason},
        "offer": offer and {"campaign": "18", "text": offer, "valid_until": ends, **terms},
    }
    return {
        "decision": "d1",
        "cause": {"source": "ble-gw-3", "id": "8f0c1"},
        "screen": screen,
        "issued": at.isoformat(),
        "valid_until": ends,
        "audience": "public",
        "schema_version": 1,
        "locale": "en",
        "items": [item],
        "notice": notice
        and {"campaign": "19", "kind": "service", "text": notice, "valid_until": ends},
        "model": "ranker-1",
        "policy": "nba-1",
        **more,
    }


def get(port: int, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Fetches a path as a plain client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
    finally:
        connection.close()


def post(port: int, path: str, body: bytes, **headers: str) -> int:
    """Posts as a page of ours would, but for what `headers` change; returns the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    ours = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    changed = {key.replace("_", "-"): value for key, value in headers.items()}
    try:
        connection.request("POST", path, body=body, headers=ours | changed)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for all tests of this file."""
    with running_chromium() as chromium:
        yield chromium


@contextmanager
def running_store(folder: Path, **options: Any) -> Iterator[Store]:
    """A broker, pages and an agent's link, all connected."""
    with running_broker(folder) as broker:
        server = ScreensServer(settings(broker, "screens"), STORE, **options)
        with server:
            store = Store(broker, server)
            store.link.start()
            try:
                assert server.wait_linked(WAIT_S)
                assert store.link.wait_connected(WAIT_S)
                yield store
            finally:
                store.link.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store whose pages live by the machine's clock."""
    with running_store(tmp_path / "broker") as running:
        yield running


def title_is(title: str) -> str:
    """Returns an expression that is true when this is what the screen shows."""
    shown = "document.querySelector('.poster:not(.leaving) .title').textContent"
    return f"{shown} === {json.dumps(title)}"


OFFLINE = "!document.getElementById('offline').hidden"
GREETING = "Nice to have you here"


def test_screen_shows_retained_content_then_each_new_one(store: Store, browser: Chromium) -> None:
    """Title, reason, price, offer and time left are there at once, and change with the topic."""
    service = "Warm bread at four"
    store.show("dairy-1", "Oat drink", offer="2 for 1 until tonight", notice=service)
    store.until(lambda figures: figures["recommendations"] == 1)
    page = browser.open(store.url("/screen/dairy-1"), width=1920, height=1080)
    page.wait(title_is("Oat drink"))
    text = page.text()
    assert "Goes with your basket" in text
    assert "2 for 1 until tonight" in text
    assert service in text
    assert "5 min left" in text
    label = "document.querySelector('.price').getAttribute('aria-label')"
    assert page.value(label) == "€1.29"
    store.show("dairy-1", "Rye bread", decision="d2")
    page.wait(title_is("Rye bread"))
    assert page.mishaps(origin=store.server.url) == []
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (800, 480)])
def test_nothing_is_cut_off_on_any_screen(
    store: Store, browser: Chromium, width: int, height: int
) -> None:
    """A long name, reason and offer stay inside the screen, and the name stays large."""
    title = "Seafood salmon farm raised fillets, value pack with lemon and dill, 1.2 kg"
    offer = "Second one at half the price, this week only"
    store.show("s1", title, offer=offer, notice="Ask us for a recipe that goes with it")
    page = browser.open(store.url("/screen/s1"), width=width, height=height)
    page.wait(title_is(title))
    inside = """[
      ...document.querySelectorAll('.title, .reason, .offer, .notice, .tag')
    ].every((each) => {
      const box = each.getBoundingClientRect();
      return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
    })"""
    page.wait(inside)
    hidden = "(each => each.scrollHeight - each.clientHeight)(document.querySelector('.title'))"
    size = "parseFloat(getComputedStyle(document.querySelector('.title')).fontSize)"
    assert page.value(hidden) <= 0.3 * page.value(size), "a line of the name is cut off"
    assert page.value(size) >= 0.045 * min(width, height)
    scrolled = "document.documentElement.scrollHeight > innerHeight"
    assert page.value(scrolled) is False
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (800, 480), (390, 844)])
def test_a_long_offer_is_told_with_its_code_and_time(
    store: Store, browser: Chromium, width: int, height: int
) -> None:
    """What is off, the code for the till and how long it is good stand beside a readable name."""
    offer = "Äidin juustot ja jogurtit, kaikki -20 % tällä viikolla, niin kauan kuin erää riittää"
    notice = "Vain muutama tuote? Pikakassat ovat nyt vapaina, eikä siellä tarvitse jonottaa."
    ends = (datetime.now(tz=UTC) + timedelta(hours=30)).isoformat()
    terms = {"code": "7Q4K-9ZD2-M0XT", "valid_until": ends}
    message = recommendation("s2", "Jogurtti mansikka-vanilja 1 kg", offer=offer, terms=terms)
    beside = [message["items"][0] | {"product": f"p{n}", "title": "Ruisleipä"} for n in range(3)]
    items = [message["items"][0], *beside]
    store.show("s2", "", notice=notice, items=items)
    page = browser.open(store.url("/screen/s2"), width=width, height=height)
    page.wait("document.querySelector('.title')?.textContent.startsWith('Jogurtti')")
    page.wait("document.fonts.status === 'loaded'")
    whole = """[...document.querySelectorAll('.title, .offer, .offer span, .terms, .notice')]
      .every((each) => {
        const box = each.getBoundingClientRect(), copy = each.closest('.copy');
        const spare = 0.3 * parseFloat(getComputedStyle(each).fontSize);
        return box.height > 0 && box.bottom <= copy.getBoundingClientRect().bottom
          && box.top >= copy.getBoundingClientRect().top
          && each.scrollHeight - each.clientHeight <= spare;
      })"""
    page.wait(whole)
    assert page.value("document.querySelector('.code').textContent") == terms["code"]
    assert page.value("document.querySelector('.until').textContent") == "good for 29 h"
    assert page.value("document.querySelector('.deal').textContent").startswith(terms["code"])
    page.close()


def test_lost_broker_keeps_last_good_content_and_says_so(store: Store, browser: Chromium) -> None:
    """The broker goes: the content stays, a small mark appears, and goes when it is back."""
    store.show("dairy-1", "Oat drink")
    page = browser.open(store.url("/screen/dairy-1"))
    page.wait(title_is("Oat drink"))
    assert page.value(OFFLINE) is False
    store.broker.stop()
    page.wait(OFFLINE)
    assert page.value(title_is("Oat drink")) is True
    store.broker.start()
    page.wait(f"!({OFFLINE})")
    assert page.value(title_is("Oat drink")) is True
    page.close()


def test_page_alone_falls_back_to_default_when_content_ends(
    store: Store, browser: Chromium
) -> None:
    """The server itself goes: the page keeps its content until it ends, then shows the default."""
    store.show("dairy-1", "Milk", code="store_default", decision="d0")
    store.until(lambda figures: figures["recommendations"] == 1)
    store.show("dairy-1", "Oat drink", life_s=6.0)
    page = browser.open(store.url("/screen/dairy-1"))
    page.wait(title_is("Oat drink"))
    store.server.stop()
    page.wait(OFFLINE)
    assert page.value(title_is("Oat drink")) is True
    page.wait(title_is("Milk"))
    page.close()


def test_expired_content_reverts_to_store_default(store: Store, browser: Chromium) -> None:
    """After `valid_until` the last default of the screen is back; before any, a greeting."""
    page = browser.open(store.url("/screen/dairy-1"))
    overview = browser.open(store.url("/store"))
    page.wait(title_is(GREETING))
    store.show("dairy-1", "Oat drink", life_s=1.5)
    page.wait(title_is("Oat drink"))
    _wait_text(overview, ".what", "Oat drink")
    page.wait(title_is(GREETING))
    _wait_text(overview, ".what", GREETING)
    store.show("dairy-1", "Milk", code="store_default", decision="d2")
    page.wait(title_is("Milk"))
    store.show("dairy-1", "Cheese", decision="d3", life_s=1.5)
    page.wait(title_is("Cheese"))
    page.wait(title_is("Milk"))
    page.close()
    overview.close()


def test_cleared_topic_reverts_to_default(store: Store, browser: Chromium) -> None:
    """An empty retained message takes the content off at once."""
    store.show("dairy-1", "Oat drink")
    page = browser.open(store.url("/screen/dairy-1"))
    page.wait(title_is("Oat drink"))
    store.link.publish(topics.recommendation(STORE, "dairy-1"), b"", retain=True)
    page.wait(title_is(GREETING))
    page.close()


def test_decision_is_reported_shown_once(store: Store, browser: Chromium) -> None:
    """Two browsers and a reload make one `screen.shown`, which the agent's decoder accepts."""
    store.show("dairy-1", "Oat drink")
    first = browser.open(store.url("/screen/dairy-1"))
    first.wait(title_is("Oat drink"))
    topic, payload = store.wait_heard(1)[0]
    assert topic == topics.feedback(STORE, "dairy-1")
    event = EVENT.validate_json(payload)
    assert isinstance(event, ScreenShown)
    assert (event.data.decision, event.data.screen, event.source) == ("d1", "dairy-1", "dairy-1")
    second = browser.open(store.url("/screen/dairy-1"))
    second.wait(title_is("Oat drink"))
    first.go(store.url("/screen/dairy-1"))
    first.wait(title_is("Oat drink"))
    # A later decision is heard after anything that was said of the first one.
    store.show("dairy-1", "Rye bread", decision="d2")
    first.wait(title_is("Rye bread"))
    second.wait(title_is("Rye bread"))
    store.wait_heard(2)
    decisions = [EVENT.validate_json(each).data.decision for _, each in store.heard]  # type: ignore[union-attr]
    assert decisions == ["d1", "d2"]
    first.close()
    second.close()


def test_a_tap_on_a_text_names_no_product(store: Store, browser: Chromium) -> None:
    """A question or message beside the products is answered for itself, and then the product."""
    store.show("dairy-1", "Oat drink", notice="Do you need a hand?")
    page = browser.open(store.url("/screen/dairy-1"))
    page.wait(title_is("Oat drink"))
    store.wait_heard(1)
    for n, (selector, product) in enumerate(((".notice span", None), (".title", "1029743")), 2):
        page.value(f"document.querySelector('{selector}').click()")
        tapped = EVENT.validate_json(store.wait_heard(n)[n - 1][1])
        assert isinstance(tapped, ScreenTapped)
        assert (tapped.data.decision, tapped.data.product) == ("d1", product)
    page.close()


def test_touch_is_reported_and_dismissal_clears_the_screen(
    store: Store, browser: Chromium
) -> None:
    """A tap names the product; "No, thanks" brings the default back in every browser."""
    store.show("dairy-1", "Oat drink")
    page = browser.open(store.url("/screen/dairy-1"))
    other = browser.open(store.url("/screen/dairy-1"))
    page.wait(title_is("Oat drink"))
    store.wait_heard(1)
    page.value("document.querySelector('button.copy').click()")
    tapped = EVENT.validate_json(store.wait_heard(2)[1][1])
    assert tapped.type == "screen.tapped"
    assert tapped.data.product == "1029743"
    page.value("document.querySelector('.dismiss').click()")
    assert EVENT.validate_json(store.wait_heard(3)[2][1]).type == "screen.dismissed"
    page.wait(title_is(GREETING))
    other.wait(title_is(GREETING))
    page.close()
    other.close()


def test_staff_answer_is_published_and_seen_by_the_team(store: Store, browser: Chromium) -> None:
    """The newest alert is on top; an answer goes to the topic and to the other handhelds."""
    store.alert("floor", "a1", zone="Wine")
    store.alert("floor", "a2", zone="Dairy", kind="help_requested")
    page = browser.open(store.url("/staff/floor"), width=480, height=900)
    other = browser.open(store.url("/staff/floor"), width=480, height=900)
    zones = (
        "[...document.querySelectorAll('article .zone')].map((each) => each.textContent).join()"
    )
    page.wait(f"{zones} === 'Dairy,Wine'")
    page.value("document.querySelector('[data-decision=a2] .acknowledged').click()")
    topic, payload = store.wait_heard(1)[0]
    assert topic == topics.staff_feedback(STORE, "floor")
    feedback = StaffFeedback.model_validate_json(payload)
    assert (feedback.decision, feedback.outcome) == ("a2", "acknowledged")
    other.wait("document.body.innerText.includes('somebody is on the way')")
    other.value("document.querySelector('[data-decision=a2] .helped').click()")
    assert StaffFeedback.model_validate_json(store.wait_heard(2)[1][1]).outcome == "helped"
    page.wait(f"{zones} === 'Wine'")
    page.close()
    other.close()


def test_a_handheld_shows_what_a_call_is_about_and_where_it_stands(
    store: Store, browser: Chromium
) -> None:
    """Context, deadline and who was called before; passed on, withdrawn and ended by others."""
    soon = (datetime.now(tz=UTC) + timedelta(seconds=90)).isoformat()
    about: dict[str, Any] = {
        "departments": ["DAIRY"],
        "title": "Oat drink",
        "lifts_and_returns": 3,
    }
    first: dict[str, Any] = {
        "kind": "lift_return",
        "zone": "Dairy",
        "status": "open",
        "dwell_s": 150.0,
        "context": about,
    }
    store.alert("floor", "a1", **first, acknowledge_by=soon)
    asked = {"presses": 2, "customer": {"reference": "KX-7", "interests": ["BAKERY"]}}
    second: dict[str, Any] = {"kind": "help_requested", "zone": "Bakery", "context": asked}
    store.alert("floor", "a2", **second, status="open", escalated_from="cellar")
    page = browser.open(store.url("/staff/floor"), width=480, height=1000)
    shown = "document.querySelector('[data-decision={}]').innerText.includes({})"
    for name, text in (
        ("a1", "Oat drink"),
        ("a1", "put back 3 times"),
        ("a1", "there for 3 min"),
        ("a1", "next team in "),
        ("a2", "asked 2 times"),
        ("a2", "passed on by cellar"),
        ("a2", "KX-7"),
    ):
        page.wait(shown.format(name, json.dumps(text)))
    dashboard = browser.open(store.url("/store"), width=1600, height=1000)
    dashboard.wait("document.body.innerText.includes('Bakery')")
    assert "KX-7" not in dashboard.value("document.documentElement.outerHTML")
    store.alert("floor", "a1", **{**first, "status": "escalated"}, escalated_to="office")
    page.wait(shown.format("a1", json.dumps("passed on to office")))
    page.value("document.querySelector('[data-decision=a2] .acknowledged').click()")
    page.wait("document.querySelector('[data-decision=a2] button.gone') !== null")
    store.wait_heard(1)
    page.value("document.querySelector('[data-decision=a2] button.gone').click()")
    assert StaffFeedback.model_validate_json(store.wait_heard(2)[1][1]).outcome == "gone"
    store.alert("floor", "a1", **{**first, "status": "withdrawn", "outcome": "gone"})
    page.wait("document.querySelectorAll('article.alert').length === 0")
    assert page.text().count("gone") == 2
    # What comes after the end changes nothing.
    store.alert("floor", "a1", **first)
    store.alert("floor", "a3", zone="Wine")
    page.wait("document.querySelectorAll('article.alert').length === 1")
    dashboard.close()
    page.close()


def test_dashboard_shows_screens_alerts_agent_and_rate(store: Store, browser: Chromium) -> None:
    """The overview follows the store; what is for one person's eyes is not repeated there."""
    state = {"status": "online", "store": STORE, "version": "9.9.9", "health": "degraded"}
    store.link.publish(topics.agent_state(STORE), json.dumps(state).encode(), retain=True)
    store.show("dairy-1", "Oat drink")
    store.show("kiosk-1", "Secret wish", audience="private", decision="d2")
    store.alert("floor", "a1", zone="Wine")
    page = browser.open(store.url("/store"), width=1600, height=1000)
    for text in ("Oat drink", "degraded", "9.9.9", "Wine", "kiosk-1", "Shown to one person only"):
        page.wait(f"document.body.innerText.includes({json.dumps(text)})")
    assert "Secret wish" not in page.text()
    assert "Secret wish" not in page.value("document.documentElement.outerHTML")
    page.wait("document.querySelector('.spark path') !== null")
    index = browser.open(store.url("/"))
    index.wait("document.querySelector('a.card[href=\"/screen/dairy-1\"]') !== null")
    page.close()
    index.close()


def _clean(text: str) -> str:
    # A name that has control characters is no valid `Name`; texts may have them.
    return "".join(each for each in text if each.isprintable())[:128]


def _publish_injections(store: Store) -> list[tuple[str, str]]:
    """Puts the corpus into every text of a screen and an alert each; returns (name, text)."""
    names = []
    for number, evil in enumerate(INJECTIONS):
        name = _clean(evil).translate(str.maketrans("/+#", "|&~"))[:60]
        decision = f"{number} {_clean(evil)}"[:128]
        more: dict[str, Any] = {
            "offer": evil,
            "notice": evil,
            "reason": evil,
            "product": _clean(evil),
            "model": _clean(evil),
        }
        store.show(name, evil, decision=decision, **more)
        store.alert(name, decision, zone=_clean(evil), text=evil)
        names.append((name, evil))
    store.until(lambda figures: figures["recommendations"] == len(INJECTIONS))
    assert json.loads(get(store.server.port, "/health")[1])["refused"] == 0
    return names


def test_injected_text_stays_text_on_screens(store: Store, browser: Chromium) -> None:
    """Nothing of the corpus becomes markup, script, style, a request or another message."""
    page = browser.open(store.url("/health"))
    for number, (name, evil) in enumerate(_publish_injections(store)):
        page.go(store.url(f"/screen/{quote(name, safe='')}"))
        page.wait(title_is(evil))
        for selector in (".reason span", ".offer span", ".notice span"):
            _wait_text(page, selector, evil)
        _assert_unhurt(page, store)
        topic, payload = store.wait_heard(number + 1)[number]
        assert topic == topics.feedback(STORE, name)
        assert EVENT.validate_json(payload).source == name
    page.close()


def test_injected_text_stays_text_on_handhelds(store: Store, browser: Chromium) -> None:
    """The same for alerts, whose answers go to the team's own topic and no other."""
    page = browser.open(store.url("/health"))
    for number, (name, evil) in enumerate(_publish_injections(store)):
        page.go(store.url(f"/staff/{quote(name, safe='')}"))
        _wait_text(page, "article .text", evil)
        page.value("document.querySelector('article .helped').click()")
        assert store.wait_heard(number + 1)[number][0] == topics.staff_feedback(STORE, name)
        _assert_unhurt(page, store)
    page.close()


@pytest.mark.parametrize("path", ["/store", "/"])
def test_injected_text_stays_text_on_overviews(store: Store, browser: Chromium, path: str) -> None:
    """The same where the whole store is on one page."""
    corpus = _publish_injections(store)
    page = browser.open(store.url(path))
    for name, evil in corpus:
        _wait_text(page, ".what", evil)
        _wait_text(page, ".foot .name", name)
    _assert_unhurt(page, store)
    page.close()


def _wait_text(page: Page, selector: str, text: str) -> None:
    texts = (
        f"[...document.querySelectorAll({json.dumps(selector)})].map((each) => each.textContent)"
    )
    page.wait(f"{texts}.includes({json.dumps(text)})")


def _assert_unhurt(page: Page, store: Store) -> None:
    assert page.value("typeof window.hurt") == "undefined"
    foreign = (
        "document.querySelectorAll('iframe, img, base, style, script:not([src]):not(#initial)')"
    )
    assert page.value(f"{foreign}.length") == 0
    assert page.value("getComputedStyle(document.body).display") != "none"
    assert page.mishaps(origin=store.server.url) == []


def test_injected_text_in_dumped_dom_is_escaped(store: Store, tmp_path: Path) -> None:
    """What Chromium itself writes down as the document holds the text escaped."""
    evil = INJECTIONS[0]
    store.show("dairy-1", evil)
    store.until(lambda figures: figures["recommendations"] == 1)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dumped = subprocess.run(
        [*command, profile, "--timeout=3000", "--dump-dom", store.url("/screen/dairy-1")],
        capture_output=True,
        check=True,
        timeout=60,
        text=True,
    ).stdout
    assert "&lt;script&gt;window.hurt=1;alert(1)&lt;/script&gt;</h1>" in dumped
    assert evil not in dumped


def test_posts_of_strangers_and_of_things_not_shown_are_refused(store: Store) -> None:
    """Another origin or type, a large body, an unknown decision or product: nothing is said."""
    store.show("dairy-1", "Oat drink")
    store.alert("floor", "a1")
    store.until(lambda figures: figures["recommendations"] == 1)
    port, path = store.server.port, "/screen/dairy-1/feedback"
    shown = b'{"kind":"shown","decision":"d1"}'
    assert post(port, path, shown) == 404, "it was not sent to any page yet"
    get(port, "/screen/dairy-1")
    assert post(port, path, shown, Origin="http://evil.example") == 403
    assert post(port, path, shown, Origin="null") == 403
    assert post(port, path, shown, Sec_Fetch_Site="cross-site") == 403
    assert post(port, path, shown, Content_Type="text/plain") == 403
    assert post(port, path, shown, Host="evil.example", Origin="http://evil.example") == 421
    assert post(port, path, b'{"x":"' + b"y" * 3_000 + b'"}') == 413
    assert post(port, path, b'{"kind":"sold","decision":"d1"}') == 422
    assert post(port, path, b'{"kind":"tapped","decision":"d1","product":"9"}') == 404
    assert post(port, path, b'{"kind":"shown","decision":"d9"}') == 404
    assert post(port, "/screen/other/feedback", shown) == 404
    staff = b'{"decision":"a9","outcome":"helped"}'
    assert post(port, "/staff/floor/feedback", staff) == 404
    assert post(port, path, shown) == 204
    store.wait_heard(1)
    assert len(store.heard) == 1


def test_every_answer_forbids_what_is_foreign(store: Store) -> None:
    """Pages, files, streams and refusals carry the policy; another host's name is refused."""
    for path in ("/", "/screen/x", "/store", "/staff/y", "/static/screen.js", "/nothing"):
        _, body, headers = get(store.server.port, path)
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in body
    status, _, _ = get(store.server.port, "/", Host="evil.example")
    assert status == 421


def test_messages_that_lie_or_are_broken_change_nothing(store: Store) -> None:
    """A payload that is broken, huge or another screen's is counted; the screen stays."""
    store.show("dairy-1", "Oat drink")
    topic = topics.recommendation(STORE, "dairy-1")
    other = json.dumps(recommendation("wine-1", "Lie")).encode()
    for each in (other, b"{", b"\xff\xfe", b"[" * 10_000, b" " * 300_000):
        before = json.loads(get(store.server.port, "/health")[1])["refused"]
        store.link.publish(topic, each)
        store.until(lambda figures, n=before + 1: figures["refused"] == n)  # type: ignore[misc]
    assert b"Oat drink" in get(store.server.port, "/screen/dairy-1")[1]
    assert b"Lie" not in get(store.server.port, "/store")[1]


def test_slow_page_gets_newest_state_and_no_backlog(store: Store) -> None:
    """A page that does not read for 2,000 contents gets few of them, and the newest last."""
    n_contents = 2_000
    with socket.create_connection(("127.0.0.1", store.server.port)) as page:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        page.sendall(b"GET /stream/screen/s1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        store.until(lambda figures: figures["listeners"] == 1)
        for number in range(n_contents):
            store.show("s1", f"{number:04d} " + "x" * 1_500, decision=f"d{number}")
        store.until(lambda figures: figures["recommendations"] == n_contents)
        page.settimeout(WAIT_S)
        read = b""
        while f"{n_contents - 1:04d} x".encode() not in read:
            part = page.recv(1 << 16)
            assert part, "the stream ended"
            read += part
    assert read.count(b"event: update") < n_contents / 2
    store.until(lambda figures: figures["listeners"] == 0)


def test_replay_clock_rules_what_is_shown(tmp_path: Path, browser: Chromium) -> None:
    """A replayed day's contents begin and end by its ticks, and are reported in its time."""
    at = datetime(2017, 12, 2, 10, 0, tzinfo=UTC)
    with running_store(tmp_path / "broker", is_replay=True) as store:

        def tick(seconds: float) -> None:
            now = (at + timedelta(seconds=seconds)).isoformat()
            store.link.publish(topics.clock(STORE), json.dumps({"now": now}).encode())

        tick(0)
        store.show("dairy-1", "Oat drink", at=at, life_s=120)
        page = browser.open(store.url("/screen/dairy-1"))
        page.wait(title_is("Oat drink"))
        event = EVENT.validate_json(store.wait_heard(1)[0][1])
        assert event.time == at
        tick(121)
        page.wait(title_is(GREETING))
        page.close()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge_agent", "screens", *arguments]


def test_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    """It prints its address, serves, and ends with 0 at SIGTERM."""
    with running_broker(tmp_path / "broker") as broker:
        process = subprocess.Popen(
            _command("--store", STORE, "--broker", f"127.0.0.1:{broker.port}", "--port", "0"),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109 - the tests' root
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            port = int(url.rstrip("/").rpartition(":")[2])
            assert get(port, "/screen/any")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--store", "a/b"), 2, "use letters"),
        (("--store", "a", "--locale", "xx"), 2, "en, fi"),
        (("--store", "a", "--broker", ":::"), 2, "HOST:PORT"),
        (("--store", "a", "--ca", "/no/such.pem"), 2, "PEM"),
        (("--store", "a", "--host", "203.0.113.9"), 3, "--host"),
        (("--store", "a", "--port", "0", "--broker", "127.0.0.1:1", "--no-wait"), 3, "--broker"),
    ],
)
def test_command_says_what_to_do(arguments: tuple[str, ...], code: int, said: str) -> None:
    """Wrong use ends with 2, a missing port or broker with 3, each with what to do."""
    ended = ran("screens", *arguments)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
