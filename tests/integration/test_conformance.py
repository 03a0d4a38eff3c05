"""`edge-agent conformance` on a real broker: our screens and till pass, others hear why not."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from paho.mqtt.client import MQTTv5, MQTTv311

from edge_agent.conformance import contract, screen_checks, till_checks
from edge_agent.conformance.findings import Finding
from edge_agent.conformance.person import Answer, nothing
from edge_agent.conformance.screen_cases import MARKUP
from edge_agent.conformance.screen_run import ScreenRun, ScreenSettings
from edge_agent.conformance.station import Station
from edge_agent.conformance.till_run import TillRun, TillSettings
from edge_agent.conformance.till_scenario import STEPS
from edge_agent.conformance.transcript import Place, concern_of_screen, concern_of_till
from edge_agent.replay.dataset import DEFAULT_DAY
from edge_agent.replay.play import ReplayOptions, prepare
from edge_agent.replay.publisher import BrokerPublisher
from edge_agent.shell.mqtt_client import Incoming, LinkSettings, MqttLink, Subscription
from edge_agent.web.server import ScreensServer
from edge_agent.wire import topics
from provisioning import enrol
from tests.integration import commands
from tests.integration.broker import POLL_S, Broker, free_port, running_broker
from tests.integration.chromium import Chromium, Page, running_chromium
from tests.integration.enrolled import Client, Store, now, shipped_config
from tests.integration.live_world import WAIT_S, LiveWorld, live_world
from tests.vendor_screen import VendorScreen
from tests.vendor_till import VendorTill

pytestmark = pytest.mark.broker

STORE: Final = "bench"
SCREEN: Final = "dairy-1"
TILL: Final = "pos-2"
OF_TILL: Final = concern_of_till(STORE, TILL)
RUN: Final = "conformance-test"
LISTEN_S: Final = 10.0
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(Path.cwd())}
_POSTER: Final = "document.querySelector('.poster:not(.leaving)')"


def login(broker: Broker, name: str) -> LinkSettings:
    """Returns how to come in."""
    return LinkSettings(
        host=broker.host, port=broker.port, client_id=name, session_expiry_s=0, clean_start=True
    )


def not_ok(found: tuple[Finding, ...]) -> dict[str, str]:
    """Returns what did not hold or was not tried, and why."""
    return {each.check: each.came for each in found if each.verdict != "ok"}


@dataclass
class OurScreen:
    """The project's own page in a real browser, with somebody in front of it."""

    broker: Broker
    browser: Chromium
    server: ScreensServer | None = None
    page: Page | None = None

    def switch_on(self) -> None:
        """Starts the pages and opens this screen's."""
        self.server = ScreensServer(login(self.broker, "screens"), STORE)
        self.server.start()
        assert self.server.wait_linked(WAIT_S)
        self.page = self.browser.open(f"{self.server.url}screen/{SCREEN}")

    def switch_off(self) -> None:
        """Closes the page and ends the pages' server."""
        if self.page is not None:
            self.page.close()
        if self.server is not None:
            self.server.stop()
        self.page = self.server = None

    @property
    def is_there(self) -> bool:
        """Whether anybody can be asked."""
        return True

    def note(self, text: str) -> None:
        """Hears it."""

    def does(self, task: str, text: str, *, meanwhile: Callable[[], None] = nothing) -> Answer:  # noqa: ARG002 - it is quick
        """Touches the page, or its plug."""
        if task == "switch-off":
            self.switch_off()
        elif task == "switch-on":
            self.switch_on()
        else:
            assert self.page is not None, text
            part = {"tapped": ".copy", "dismissed": ".dismiss"}[task]
            self.page.value(f"{_POSTER}.querySelector('{part}').click()")
        return "yes"

    def sees(self, question: str, text: str) -> Answer:
        """Reads the page."""
        assert self.page is not None, text
        title = self.page.value(f"{_POSTER}.querySelector('.title').textContent")
        offers = self.page.value(f"{_POSTER}.querySelectorAll('.offer').length")
        is_so = {
            "reads-exactly": title == MARKUP,
            "offer-over": offers == 0 and title == "Offer ends, product stays",
            "gone-when-over": "Gone" not in title,
            "gone-when-cleared": "Gone" not in title,
        }[question]
        return "yes" if is_so else "no"


def test_our_own_screens_keep_the_contract(broker: Broker) -> None:
    """Every line is tried on `edge-agent screens` in a real browser, and every one holds."""
    with running_chromium() as browser:
        ours = OurScreen(broker, browser)
        ours.switch_on()
        place = Place(store=STORE)
        try:
            with Station(
                login(broker, "agent"), place, concern=concern_of_screen(STORE, SCREEN, run=RUN)
            ) as station:
                run = ScreenRun(station, place, ScreenSettings(screen=SCREEN, run=RUN), ours)
                found = screen_checks.findings(run.go(lambda *_: None))
        finally:
            ours.switch_off()
    assert not_ok(found) == {}
    assert len(found) == len(contract.SCREEN)


def our_till(world: LiveWorld, fault: str = "") -> VendorTill:
    """Puts a till on a live broker."""
    till = VendorTill(world, STORE, TILL, fault)
    world.device = till
    return till


TILL_FILTERS: Final = (
    topics.event_receipt(STORE, TILL),
    topics.receipt_offer(STORE, TILL),
    topics.reply(STORE, TILL),
)


def tried_till(broker: Broker, fault: str = "", *, mount: str = "") -> tuple[Finding, ...]:
    """Returns what is found of a till on a live broker."""
    place = Place(store=STORE, mount=mount)
    settings = TillSettings(source=TILL, run=RUN, step_s=10.0, repeat_within_s=5.0)
    with (
        live_world(broker, TILL_FILTERS, mount=mount) as world,
        Station(login(broker, "agent"), place, concern=OF_TILL) as station,
    ):
        run = TillRun(station, place, settings, our_till(world, fault))
        return till_checks.findings(run.play(STEPS, lambda *_: None))


def test_till_that_keeps_the_contract_passes_behind_a_mount_point(broker: Broker) -> None:
    """All lines hold on a live broker, with its topics below a bridge's prefix."""
    assert not_ok(tried_till(broker, mount="bench/7/")) == {}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        pytest.param("new id for repeats", "one-id", marks=pytest.mark.slow),
        pytest.param("another topic", "topic", marks=pytest.mark.slow),
        ("retained", "delivery"),
    ],
)
def test_till_that_breaks_the_contract_is_told_where(
    broker: Broker, fault: str, check: str
) -> None:
    """On a live broker too, one fault is one wrong line."""
    assert [e.check for e in tried_till(broker, fault) if e.verdict == "wrong"] == [check]


# --- the command -------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    """Returns the command's line."""
    return [sys.executable, "-m", "edge_agent", "conformance", *arguments]


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return commands.ran("conformance", *arguments)


def at(broker: Broker) -> tuple[str, str]:
    """Returns the option that names a broker."""
    return ("--broker", f"{broker.host}:{broker.port}")


@contextmanager
def listening(broker: Broker, topic: str, hear: Callable[[Incoming], None]) -> Iterator[MqttLink]:
    """A link that hears a topic, for the length of a block."""
    link = MqttLink(
        login(broker, "onlooker"),
        subscriptions=(Subscription(topic_filter=topic),),
        on_message=hear,
    )
    link.start()
    try:
        assert link.wait_connected(WAIT_S)
        yield link
    finally:
        link.stop()


def wait_online(broker: Broker) -> None:
    """Waits until the command plays the agent."""
    online = threading.Event()

    def hear(message: Incoming) -> None:
        if message.payload and json.loads(message.payload)["status"] == "online":
            online.set()

    with listening(broker, topics.agent_state(STORE), hear):
        assert online.wait(WAIT_S)


def test_our_own_replayed_till_keeps_the_contract(broker: Broker) -> None:
    """A real day's till events, published by the replay, have no wrong line; exit code 0."""
    replay = prepare(ReplayOptions(day=DEFAULT_DAY, store=STORE, baskets=40))
    started = ("pos", "--store", STORE, "--source", "pos-1", "--clock", "replay", "--json")
    process = subprocess.Popen(
        command(*started, "--listen", str(LISTEN_S), *at(broker)),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        wait_online(broker)
        with BrokerPublisher(login(broker, "replay")) as publisher:
            for each in replay.publications():
                publisher.publish(each.topic, each.payload)
            publisher.flush()
        said, _ = process.communicate(timeout=WAIT_S + LISTEN_S)
    finally:
        process.kill()
        process.communicate()
    report = json.loads(said)
    verdicts = {each["check"]: each["verdict"] for each in report["checks"]}
    assert "wrong" not in verdicts.values(), report
    assert process.returncode == 0
    for check in ("heard", "schema", "ids", "one-id", "time", "order", "lines", "totals"):
        assert verdicts[check] == "ok", check
    assert verdicts["repeats"] == verdicts["open"] == "not tried"


@pytest.mark.parametrize(
    ("fault", "version", "wrong"),
    [("", MQTTv311, []), ("tells repeats again", MQTTv5, ["repeat"])],
)
def test_command_judges_a_screen_and_ends_with_its_code(
    broker: Broker, fault: str, version: int, wrong: list[str]
) -> None:
    """JSON on standard output, 0 for a good screen and 1 for a wrong one, nothing left behind."""
    topic = topics.recommendation(STORE, SCREEN)
    with live_world(broker, (topic,), version=version) as world:
        world.device = VendorScreen(world, STORE, SCREEN, fault)
        ended = ran("screen", "--store", STORE, "--screen", SCREEN, "--json", *at(broker))
    report = json.loads(ended.stdout)
    assert [e["check"] for e in report["checks"] if e["verdict"] == "wrong"] == wrong, report
    assert ended.returncode == len(wrong)
    assert report["counts"]["not tried"] == 7
    assert "nobody is asked" in ended.stderr
    assert kept(broker) == []


def kept(broker: Broker) -> list[str]:
    """Returns the topics on which the broker keeps a message."""
    got: list[str] = []
    is_whole = threading.Event()

    def hear(message: Incoming) -> None:
        if message.topic == "barrier":
            is_whole.set()
        else:
            got.append(message.topic)

    with listening(broker, "#", hear) as link:
        # Whatever the broker keeps it sends before what comes later.
        link.publish("barrier", b"")
        assert is_whole.wait(WAIT_S)
    return got


def test_cashier_at_a_terminal_is_asked_and_the_till_is_served_meanwhile(broker: Broker) -> None:
    """Receipts go out while somebody reads what to do; the report is a table."""
    with live_world(broker, TILL_FILTERS) as world:
        till = our_till(world)
        terminal, inside = pty.openpty()
        arguments = ("pos", "--store", STORE, "--source", TILL, "--scenario", "open,void")
        process = subprocess.Popen(
            command(*arguments, "--timeout", "1", *at(broker)),
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**ENVIRONMENT, "COLUMNS": "160"},
        )
        os.close(inside)
        try:
            screen = _read_until(terminal, "Open a new basket.")
            till.does("open", "")
            deadline = time.monotonic() + WAIT_S
            while not till.is_served:
                assert time.monotonic() < deadline, "no receipt came before the key was pressed"
                time.sleep(POLL_S)
            os.write(terminal, b"\n")
            screen += _read_until(terminal, "Void one of the lines.")
            os.write(terminal, b"n\n")
            screen += _read_until(terminal, "not tried\r\n")
            assert process.wait(WAIT_S) == 0, screen
        finally:
            process.kill()
            process.communicate()
            os.close(terminal)
    assert "others-receipt" in screen
    assert "it cannot be done at this till" in screen


def _read_until(terminal: int, text: str) -> str:
    """Returns what a terminal shows up to a text."""
    shown, deadline = "", time.monotonic() + WAIT_S
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, shown
        shown += os.read(terminal, 65_536).decode(errors="replace")
    return shown


def test_screen_that_is_not_there_is_told_so(broker: Broker) -> None:
    """Nobody subscribes: one wrong line, and where to look."""
    ended = ran("screen", "--topic-prefix", "store/b", "--screen", "s", "--wait", "1", *at(broker))
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("wrong     subscribes")
    assert "store/b/screen/s/recommendation" in lines[0]
    assert lines[-1].startswith("0 ok, 1 wrong")


def test_command_keeps_out_of_a_store_with_an_agent(broker: Broker) -> None:
    """Where an agent is online nothing is published, and the code says wrong use."""
    state: dict[str, Any] = {"status": "online", "store": STORE, "version": "1"}
    told = threading.Event()
    topic = topics.agent_state(STORE)
    with listening(broker, topic, lambda _message: told.set()) as link:
        link.publish(topic, json.dumps(state).encode(), retain=True)
        assert told.wait(WAIT_S)
        ended = ran("screen", "--store", STORE, "--screen", SCREEN, *at(broker))
    assert ended.returncode == 2
    assert "an agent is online" in ended.stderr
    assert kept(broker) == [topic]


# A broker that grants no subscription to everything: mosquitto's own access lists cannot say so.
PLUGIN: Final = "/usr/lib/{}/mosquitto_dynamic_security.so"
NOT_EVERYTHING: Final = {
    "defaultACLAccess": dict.fromkeys(
        ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), True
    ),
    "anonymousGroup": "all",
    "groups": [{"groupname": "all", "roles": [{"rolename": "not-everything"}]}],
    "roles": [
        {
            "rolename": "not-everything",
            "acls": [{"acltype": "subscribeLiteral", "topic": "#", "allow": False}],
        }
    ],
}


def test_broker_that_grants_no_subscription_to_everything_is_told(tmp_path: Path) -> None:
    """The contract's own topics are heard all the same, and the report says what was not."""
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "access.json").write_text(json.dumps(NOT_EVERYTHING))
    plugin = PLUGIN.format(sysconfig.get_config_var("MULTIARCH"))
    config = f"plugin {plugin}\nplugin_opt_config_file {{folder}}/access.json\n"
    with (
        running_broker(folder, config=f"allow_anonymous true\n{config}") as broker,
        live_world(broker, TILL_FILTERS) as world,
    ):
        till = our_till(world)
        with Station(login(broker, "agent"), Place(store=STORE), concern=OF_TILL) as station:
            station.hear_everything()
            till.does("open", "")
            until_s = station.monotonic_s() + WAIT_S
            assert station.wait(bool, until_s=until_s)
            assert [each.topic for each in station.heard] == [topics.event(STORE, TILL)]
            assert station.hears_everything is False


def test_an_account_of_the_agents_role_suffices_and_no_less(tmp_path: Path) -> None:
    """On a store's broker a till is heard, over TLS; lesser accounts are told what to do."""
    folder = tmp_path / "broker"
    passwords = enrol.initialise(folder, STORE, hosts=["127.0.0.1"], now=now())
    _, passwords["conformance"] = enrol.add(
        folder, enrol.Account(name="conformance", role="agent"), now=now()
    )
    ports = (free_port(), free_port())
    broker = Broker(folder=folder, config=shipped_config(folder, ports))
    store = Store(folder=folder, broker=broker, certificate_port=ports[0], password_port=ports[1])
    store.admit(enrol.Account(name=TILL, role="pos"))
    broker.start()
    try:
        password = tmp_path / "password"
        arguments = ("--store", STORE, "--source", TILL, "--password-file", str(password))
        password.write_text(passwords["pages"])
        ended = ran("pos", *arguments, "--user", "pages", *at(broker))
        assert (ended.returncode, "role agent" in ended.stderr) == (3, True), ended.stderr
        ended = ran("pos", *arguments, "--user", "agent", *at(broker))
        assert (ended.returncode, "own account" in ended.stderr) == (2, True), ended.stderr
        password.write_text(passwords["conformance"])
        over_tls = ("--broker", f"localhost:{store.password_port}", "--ca", str(folder / "ca.crt"))
        report = _heard_by_the_role(store, "pos", *arguments, "--user", "conformance", *over_tls)
    finally:
        broker.stop()
    verdicts = {each["check"]: each["verdict"] for each in report["checks"]}
    assert {verdicts[each] for each in ("heard", "topic", "delivery", "schema")} == {"ok"}


def _heard_by_the_role(store: Store, *arguments: str) -> dict[str, Any]:
    process = subprocess.Popen(
        command(*arguments, "--json", "--scenario", "open", "--no-interaction"),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": TILL,
        "type": "basket.opened",
        "time": now().isoformat(),
        "data": {"basket": "31198570131"},
    }
    try:
        with Client(store.logins[TILL]) as till:
            till.subscribe([topics.agent_state(STORE)])
            till.got.get(timeout=WAIT_S)
            till.publish([topics.event(STORE, TILL)], json.dumps(event).encode())
            said, _ = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.communicate()
    report: dict[str, Any] = json.loads(said)
    return report


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("screen", "--screen", "s"), 2, "--store or --topic-prefix"),
        (("screen", "--screen", "s", "--topic-prefix", "shop/1"), 2, "store/NAME"),
        (("screen", "--screen", "a/b", "--store", "s"), 2, "--screen"),
        (("pos", "--source", "p", "--store", "s", "--scenario", "dance"), 2, "dance"),
        (("pos", "--source", "p", "--store", "s", "--clock", "sun"), 2, "replay"),
        (("pos", "--store", "s"), 2, "--source"),
        (("screen", "--screen", "s", "--store", "s", "--cert", "c.pem"), 2, "--key"),
        (
            ("pos", "--source", "p", "--store", "s", "--broker", f"127.0.0.1:{free_port()}"),
            3,
            "broker",
        ),
    ],
)
def test_command_says_what_to_do(arguments: tuple[str, ...], code: int, said: str) -> None:
    """Wrong use ends with 2, a missing broker with 3, each with what to do."""
    ended = ran(*arguments)
    assert ended.returncode == code, ended.stderr
    assert said in ended.stderr
