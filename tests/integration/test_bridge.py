"""The bridge's HTTP way in: real requests, a real process, a real broker."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from provisioning import pki
from tests.e2e.waiting import wait_for
from tests.integration.bridge_process import (
    SECRET,
    SQUARE_URL,
    BridgeProcess,
    heard,
    running_bridge,
    square_headers,
    watcher,
)
from tests.integration.broker import Broker, free_port, running_broker
from tests.integration.commands import ran
from tests.integration.running_agent import RunningAgent, running_agent

pytestmark = pytest.mark.broker

HARDWARE: Final = Path(__file__).parents[2] / "hardware"
LIMIT: Final = 10_000
HOOKS: Final = f"""
[hooks.square]
kind = "square"
path = "/square"
topic = "square/webhook"
url = "{SQUARE_URL}"
secret_file = "@SECRET@"

[hooks.shopify]
kind = "shopify"
path = "/shopify"
topic = "shopify/{{header:X-Shopify-Topic}}"
secret_file = "@SECRET@"

[hooks.stamped]
kind = "hmac"
path = "/stamped"
topic = "orders/stamped"
secret_file = "@SECRET@"
header = "X-Signature"
prefix = "sha256="
signed = "{{timestamp}}.{{body}}"
timestamp_header = "X-Timestamp"

[hooks.loyverse]
kind = "loyverse"
path = "/loyverse"
topic = "loyverse/receipts"
secret_file = "@SECRET@"

[hooks.zettle]
kind = "zettle"
path = "/zettle"
topic = "zettle/purchases"
secret_file = "@SECRET@"

[hooks.disruptive]
kind = "disruptive"
path = "/disruptive"
topic = "disruptive/connector"
secret_file = "@SECRET@"

[hooks.camera]
kind = "basic"
user = "camera"
path = "/hikvision/{{camera}}"
topic = "hikvision/{{camera}}"
secret_file = "@SECRET@"

[hooks.bearer]
kind = "bearer"
path = "/bearer"
topic = "orders/bearer"
secret_file = "@SECRET@"

[hooks.token]
kind = "url_token"
path = "/token"
topic = "orders/token"
secret_file = "@SECRET@"

[hooks.open]
kind = "none"
path = "/open"
topic = "orders/open"
"""
BODIES: Final = (
    b'{"order":{"id":"1"}}',
    b'{\r\n  "b" : 1.0,\t"a":"\\u00e4\xc3\xa4"  }\n',
    b"payload=%7B%22id%22%3A+1%7D&retailer_id=r",
    bytes(range(256)),
    b"\x00",
    b"x" * LIMIT,
)
"""Bodies that a bridge which understood them would change."""


@pytest.fixture
def bridge(tmp_path: Path, broker: Broker) -> Iterator[BridgeProcess]:
    """A bridge with every kind of hook, linked to its broker."""
    limit = f"max_body_bytes = {LIMIT}\nread_within_s = 1.0"
    with running_bridge(
        tmp_path / "bridge", HOOKS, broker_port=broker.port, http_more=limit
    ) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BridgeProcess]:
    """One bridge for all requests that leave nothing behind."""
    folder = tmp_path_factory.mktemp("shared")
    limit = f"max_body_bytes = {LIMIT}\nread_within_s = 1.0"
    with (
        running_broker(folder / "broker") as broker,
        running_bridge(
            folder / "bridge", HOOKS, broker_port=broker.port, http_more=limit
        ) as running,
    ):
        yield running


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _stamped(body: bytes, at_s: float, *, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at_s))
    digest = hmac.digest(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hex()
    return {"X-Timestamp": stamp, "X-Signature": f"sha256={digest}"}


def _shopify(body: bytes, topic: str) -> dict[str, str]:
    digest = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    return {"X-Shopify-Hmac-SHA256": digest, "X-Shopify-Topic": topic}


def _loyverse(body: bytes) -> dict[str, str]:
    digest = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha1)).decode()
    return {"X-Loyverse-Signature": digest}


def _zettle(at_s: float, *, name: str = "PurchaseCreated") -> tuple[bytes, dict[str, str]]:
    """A body with the payload as text within it, and its signature."""
    stamp = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    payload = '{"purchaseUuid":"7cdf4ae2","note":"\u00e4 \\/"}'
    fields = {"eventName": name, "payload": payload, "timestamp": stamp}
    digest = hmac.digest(SECRET.encode(), f"{stamp}.{payload}".encode(), hashlib.sha256).hex()
    return json.dumps(fields, indent=1).encode(), {"X-iZettle-Signature": digest}


def _disruptive(body: bytes, at_s: float, *, algorithm: str = "HS256") -> dict[str, str]:
    """A data connector's token, good for an hour."""

    def encoded(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    checksum = hashlib.sha256(body).hexdigest()
    claims = {"checksum_sha256": checksum, "iat": int(at_s), "exp": int(at_s) + 3_600}
    parts = ({"alg": algorithm, "typ": "JWT"}, claims)
    text = ".".join(encoded(json.dumps(each).encode()) for each in parts)
    digest = hmac.digest(SECRET.encode(), text.encode(), hashlib.sha256)
    return {"X-Dt-Signature": f"{text}.{encoded(digest)}"}


def test_zettle_loyverse_and_disruptive_post_what_they_signed(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """The bodies arrive as they came; of a wrong body, time or algorithm nothing does."""
    now_s, body = time.time(), b'{"event": {"eventType": "touch"}}'
    purchase, signed = _zettle(now_s)
    with watcher(broker, "#") as client:
        for path, content, headers in (
            ("/loyverse", body + b" ", _loyverse(body)),
            ("/zettle", purchase.replace(b"7cdf4ae2", b"7cdf4ae3"), signed),
            ("/zettle", *_zettle(now_s - 80 * 3_600)),
            ("/disruptive", body + b" ", _disruptive(body, now_s)),
            ("/disruptive", body, _disruptive(body, now_s - 7_200)),
            ("/disruptive", body, _disruptive(body, now_s, algorithm="none")),
            ("/disruptive", body, {}),
        ):
            assert bridge.post(path, content, headers).status == 401, (path, headers)
        assert bridge.post("/loyverse", body, _loyverse(body)).status == 200
        assert bridge.post("/zettle", purchase, signed).status == 200
        assert bridge.post("/disruptive", body, _disruptive(body, now_s)).status == 200
        assert heard(client, 3) == [
            ("loyverse/receipts", body),
            ("zettle/purchases", purchase),
            ("disruptive/connector", body),
        ]
        assert client.got.empty()


def test_zettles_test_message_is_answered_and_goes_nowhere(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Without a 2xx there would be no subscription, and so no key to sign anything with."""
    purchase, signed = _zettle(time.time())
    with watcher(broker, "#") as client:
        probe = b'{"eventName": "TestMessage", "payload": {"data": "payload"}}'
        assert bridge.post("/zettle", probe).status == 200
        assert bridge.post("/zettle", purchase, signed).status == 200
        assert heard(client, 1) == [("zettle/purchases", purchase)]
        assert client.got.empty()
    counted = bridge.health()["hooks"]["zettle"]
    assert (counted["test_message"], counted["delivered"]) == (1, 1)


def test_a_body_reaches_the_broker_unchanged(bridge: BridgeProcess, broker: Broker) -> None:
    """What a vendor signed and what a subscriber gets are the same bytes."""
    with watcher(broker, "square/#") as client:
        for body in BODIES:
            assert bridge.post_square(body).status == 200
            assert heard(client, 1) == [("square/webhook", body)]


def test_a_header_names_the_topic_of_a_shopify_webhook(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """`orders/paid` in the vendor's header becomes two levels; no header ends elsewhere."""
    body = b'{"id": 1}'
    with watcher(broker, "#") as client:
        assert bridge.post("/shopify", body, _shopify(body, "orders/paid")).status == 200
        for topic in ("", "#", "+/paid", "../../store/s1/event/pos-1", "a/b/c/d/e", "a//b", "a b"):
            answered = bridge.post("/shopify", body, _shopify(body, topic))
            assert (answered.status, answered.reason) == (400, "no_topic"), topic
        assert bridge.post("/shopify", body, _shopify(body, "refunds/create")).status == 200
        assert [topic for topic, _ in heard(client, 2)] == [
            "shopify/orders/paid",
            "shopify/refunds/create",
        ]


def test_a_wrong_signature_is_refused_and_nothing_is_published(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Another body, key or URL, no signature and no base64 all end in 401."""
    body = b'{"order":{"id":"1"}}'
    good = square_headers(body)
    signature = good["x-square-hmacsha256-signature"]
    with watcher(broker, "#") as client:
        assert bridge.post("/square", body + b" ", good).status == 401
        assert bridge.post("/square", body, square_headers(body, secret="another")).status == 401
        for told in ("", "=", "é", signature[:-2], signature.lower(), f"{signature}, {signature}"):
            header = {"x-square-hmacsha256-signature": told.encode("latin-1").decode("latin-1")}
            answered = bridge.post("/square", body, header)
            assert (answered.status, answered.reason) == (401, "not_authorised"), told
        assert bridge.post("/square", body).status == 401
        assert bridge.post_square(body).status == 200
        assert heard(client, 1) == [("square/webhook", body)]
        assert client.got.empty()
    counted = bridge.health()["hooks"]["square"]
    assert counted["delivered"] == 1
    assert counted["signature_wrong"] + counted["signature_missing"] == 9


def test_a_signed_time_that_is_not_now_is_a_replay(bridge: BridgeProcess, broker: Broker) -> None:
    """An old or future request is refused although its signature is right; a forged time too."""
    body = b"{}"
    now_s = time.time()
    with watcher(broker, "#") as client:
        for at_s in (now_s - 400, now_s + 400, 0):
            answered = bridge.post("/stamped", body, _stamped(body, at_s))
            assert (answered.status, answered.reason) == (401, "timestamp_stale")
        forged = {**_stamped(body, now_s - 400), "X-Timestamp": str(int(now_s))}
        assert bridge.post("/stamped", body, forged).status == 401
        assert bridge.post("/stamped", body, _stamped(body, now_s)).status == 200
        assert len(heard(client, 1)) == 1
        assert client.got.empty()


def test_a_password_a_token_and_a_token_in_the_url_open_their_own_path(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Each is asked for by name where HTTP has a word for it; wrong ones get 401."""
    camera = bridge.post("/hikvision/door", b"<a/>")
    assert (camera.status, camera.headers["www-authenticate"]) == (401, 'Basic realm="bridge"')
    assert bridge.post("/bearer", b"1").headers["www-authenticate"] == "Bearer"
    with watcher(broker, "#") as client:
        for path, headers in (
            ("/hikvision/door", _basic("camera", SECRET + "x")),
            ("/hikvision/door", _basic("other", SECRET)),
            ("/hikvision/door", {"Authorization": "Basic ==="}),
            ("/hikvision/door", {"Authorization": f"Bearer {SECRET}"}),
            ("/bearer", {"Authorization": f"Bearer {SECRET}x"}),
            ("/bearer", {"Authorization": SECRET}),
            (f"/token?token={SECRET}x", {}),
            (f"/token?token={SECRET}&token={SECRET}", {}),
            ("/token", {}),
        ):
            assert bridge.post(path, b"1", headers).status == 401, (path, headers)
        assert bridge.post("/hikvision/door", b"1", _basic("camera", SECRET)).status == 200
        assert bridge.post("/bearer", b"2", {"Authorization": f"Bearer {SECRET}"}).status == 200
        assert bridge.post(f"/token?token={SECRET}", b"3").status == 200
        assert heard(client, 3) == [
            ("hikvision/door", b"1"),
            ("orders/bearer", b"2"),
            ("orders/token", b"3"),
        ]


def test_a_web_page_cannot_post_where_no_secret_is_asked(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """A program of this machine may; a browser that a page sends may not."""
    with watcher(broker, "#") as client:
        assert bridge.post("/open", b"1", {"Origin": "https://evil.example"}).status == 401
        assert bridge.post("/open", b"2").status == 200
        assert heard(client, 1) == [("orders/open", b"2")]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/other",
        "/square/",
        "/square/x",
        "//square",
        "/hikvision/",
        "/hikvision/a/b",
        "/hikvision/../square",
        "/hikvision/a%2Fb",
        "/open/%2e%2e/%2e%2e/etc",
        "/SQUARE",
    ],
)
def test_an_unknown_path_is_not_found(shared: BridgeProcess, path: str) -> None:
    """Only what is written down is there."""
    answered = shared.post(path, b"1", _basic("camera", SECRET))
    assert (answered.status, answered.reason) == (404, "unknown_path")


@pytest.mark.parametrize("camera", ["%23", "%2B", "..", "%2e%2e", "a%20b", "a%00b", "x" * 65])
def test_a_path_fills_one_level_of_a_topic_and_no_wildcard(
    shared: BridgeProcess, camera: str
) -> None:
    """What cannot be a level is refused, though its password is right."""
    answered = shared.post(f"/hikvision/{camera}", b"1", _basic("camera", SECRET))
    assert (answered.status, answered.reason) == (400, "no_topic")


def test_a_name_in_any_script_fills_a_level(bridge: BridgeProcess, broker: Broker) -> None:
    """A camera may be called by its place in the store's own language."""
    with watcher(broker, "#") as client:
        path = "/hikvision/k%C3%A4yt%C3%A4v%C3%A4"
        assert bridge.post(path, b"1", _basic("camera", SECRET)).status == 200
        assert heard(client, 1) == [("hikvision/käytävä", b"1")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_a_post_is_taken(shared: BridgeProcess, method: str) -> None:
    """Every other method is told what is allowed."""
    answered = shared.request(method, "/open", b"1")
    assert (answered.status, answered.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("size", [LIMIT + 1, 1_000_000, 20_000_000])
def test_an_oversized_body_is_refused_and_the_bridge_goes_on(
    bridge: BridgeProcess, broker: Broker, size: int
) -> None:
    """413, whether the length is told before or not, signed or not."""
    body = b"x" * size
    with watcher(broker, "#") as client:
        try:
            assert bridge.post_square(body).status == 413
        except (BrokenPipeError, ConnectionResetError):
            # Far too large: the bridge does not read it to its end.
            assert size > 8_388_608
        assert bridge.post_square(b"{}").status == 200
        assert heard(client, 1) == [("square/webhook", b"{}")]
    assert bridge.health()["hooks"]["square"]["too_large"] == 1


def test_a_chunked_body_is_bounded_too(bridge: BridgeProcess, broker: Broker) -> None:
    """Without a told length the bytes are counted as they come."""
    with watcher(broker, "#") as client:
        for parts, status in (([b"ab", b"cd"], 200), ([b"x" * 4_000] * 3, 413)):
            connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=20)
            connection.request("POST", "/open", iter(parts), encode_chunked=True)
            assert connection.getresponse().status == status
            connection.close()
        assert heard(client, 1) == [("orders/open", b"abcd")]


def test_a_body_that_breaks_off_is_never_published(bridge: BridgeProcess, broker: Broker) -> None:
    """Half a body, then the connection is gone or silent: nothing goes out."""
    head = b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
    with watcher(broker, "#") as client:
        with socket.create_connection(("127.0.0.1", bridge.port)) as gone:
            gone.sendall(head)
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as silent:
            silent.sendall(head)
            assert silent.recv(100).startswith(b"HTTP/1.1 408 ")
        assert bridge.post("/open", b"whole").status == 200
        assert heard(client, 1) == [("orders/open", b"whole")]


def test_a_compressed_or_empty_body_is_refused(shared: BridgeProcess) -> None:
    """What no mapping could read is said at once."""
    answered = shared.post("/open", b"x", {"Content-Encoding": "gzip"})
    assert (answered.status, answered.reason) == (415, "compressed")
    answered = shared.post("/open", b"")
    assert (answered.status, answered.reason) == (400, "no_body")


def test_without_the_broker_the_vendor_is_asked_to_repeat(tmp_path: Path) -> None:
    """503 with Retry-After while the broker is away; the repeat is delivered once it is back."""
    port = free_port()
    body = b'{"order":{"id":"1"}}'
    with running_bridge(tmp_path / "bridge", HOOKS, broker_port=port, has_broker=False) as bridge:
        answered = bridge.post_square(body)
        assert (answered.status, answered.reason) == (503, "no_broker")
        assert int(answered.headers["retry-after"]) > 0
        assert bridge.health()["status"] == "no_broker"
        with running_broker(tmp_path / "broker", port=port) as broker:
            bridge.wait_linked()
            with watcher(broker, "#") as client:
                assert bridge.post_square(body).status == 200
                assert heard(client, 1) == [("square/webhook", body)]


def test_a_frozen_broker_is_no_broker(tmp_path: Path, broker: Broker) -> None:
    """No 200 without the broker's own word; what was asked twice may come twice, unchanged."""
    body = b"{}"
    with (
        running_bridge(
            tmp_path / "bridge", HOOKS, broker_port=broker.port, more="answer_within_s = 0.5"
        ) as bridge,
        watcher(broker, "#") as client,
    ):
        broker.freeze()
        try:
            answered = bridge.post_square(body)
            assert (answered.status, answered.reason) == (503, "no_answer_in_time")
        finally:
            broker.thaw()
        wait_for(lambda: bridge.post_square(body).status == 200, "the repeat is taken")
        came = heard(client, 2)
        assert set(came) == {("square/webhook", body)}


def test_what_the_broker_takes_for_nobody_is_not_delivered(tmp_path: Path, broker: Broker) -> None:
    """The broker acknowledges and drops what nobody subscribes: then there is no 200."""
    with running_bridge(tmp_path / "a", HOOKS, broker_port=broker.port) as bridge:
        answered = bridge.post_square(b"{}")
        assert (answered.status, answered.reason) == (503, "nobody_subscribes")
    more = "needs_subscriber = false"
    with running_bridge(tmp_path / "b", HOOKS, broker_port=broker.port, more=more) as bridge:
        assert bridge.post_square(b"{}").status == 200


def test_what_the_broker_refuses_is_not_delivered(tmp_path: Path) -> None:
    """A topic that the bridge's account may not write is no 200 either."""
    access = tmp_path / "access"
    access.write_text("topic readwrite square/#\ntopic read #\n")
    config = f"allow_anonymous true\nacl_file {access}\n"
    with (
        running_broker(tmp_path / "broker", config=config) as broker,
        running_bridge(tmp_path / "bridge", HOOKS, broker_port=broker.port) as bridge,
        watcher(broker, "#") as client,
    ):
        answered = bridge.post("/open", b"1")
        assert (answered.status, answered.reason) == (503, "refused_by_broker")
        assert bridge.post_square(b"2").status == 200
        assert heard(client, 1) == [("square/webhook", b"2")]


def test_a_body_larger_than_the_broker_takes_does_not_cut_the_link(tmp_path: Path) -> None:
    """The broker says what it takes, and cuts off who sends more: the bridge sends no more."""
    config = "allow_anonymous true\nmax_packet_size 2000\n"
    with (
        running_broker(tmp_path / "broker", config=config) as broker,
        running_bridge(tmp_path / "bridge", HOOKS, broker_port=broker.port) as bridge,
        watcher(broker, "#") as client,
    ):
        answered = bridge.post_square(b"x" * 3_000)
        assert (answered.status, answered.reason) == (413, "too_large_for_broker")
        assert bridge.post_square(b"x" * 1_000).status == 200
        assert len(heard(client, 1)) == 1
        assert bridge.health()["broker"]["connects"] == 1


def test_many_at_once_all_arrive_once(bridge: BridgeProcess, broker: Broker) -> None:
    """Requests in parallel each get the broker's word for their own body."""
    bodies = [f'{{"order":{{"id":"{n}"}}}}'.encode() for n in range(200)]
    with watcher(broker, "square/#") as client:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(bridge.post_square, bodies))
        assert {answered.status for answered in answers} == {200}
        assert sorted(body for _, body in heard(client, len(bodies))) == sorted(bodies)
        assert client.got.empty()


def test_a_silent_connection_is_closed(shared: BridgeProcess) -> None:
    """Who sends half a head and waits holds no place for ever."""
    with socket.create_connection(("127.0.0.1", shared.port), timeout=20) as slow:
        slow.sendall(b"POST /open HTTP/1.1\r\nHost:")
        with suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def test_logs_and_answers_hold_no_body_and_no_secret(
    bridge: BridgeProcess, broker: Broker
) -> None:
    """Delivered or refused, what was posted stays out of the log and of every answer."""
    canary = "jane.roe@example.com"
    answers = []
    with watcher(broker, "#"):
        body = f'{{"email":"{canary}"}}'.encode()
        answers.append(bridge.post_square(body))
        answers.append(bridge.post("/square", body, {"x-square-hmacsha256-signature": canary}))
        answers.append(bridge.post("/bearer", body, {"Authorization": f"Bearer {canary}"}))
        answers.append(bridge.post(f"/token?token={canary}", body))
        answers.append(bridge.post("/stamped", body, {"X-Timestamp": canary, "X-Signature": "x"}))
        answers.append(bridge.post(f"/{canary}", body))
    # Nobody subscribes any more: the complaint names the topic as it was written down.
    path = f"/hikvision/{canary}"
    answers.append(bridge.post(path, body, _basic("camera", SECRET)))
    assert answers[-1].status == 503
    assert bridge.stop() == 0
    shown = bridge.log + "".join(f"{one.headers}{one.body!r}" for one in answers)
    assert canary not in shown
    assert SECRET not in shown
    assert '"signature_wrong"' in bridge.log


def test_a_flood_of_bad_requests_is_few_lines(bridge: BridgeProcess) -> None:
    """The same complaint is logged once a minute, and counted each time."""
    for _ in range(50):
        bridge.post("/square", b"{}")
    assert bridge.health()["hooks"]["square"]["signature_missing"] == 50
    refused = [one for one in bridge.events if one["event"] == "request_refused"]
    assert len(refused) == 1


def test_the_command_tells_the_status(bridge: BridgeProcess, broker: Broker) -> None:
    """`--status --json` asks the running bridge; without one it says so, with exit code 3."""
    with watcher(broker, "#"):
        assert bridge.post_square(b"{}").status == 200
    bridge.write()
    command = [sys.executable, "-m", "edge_agent", "bridge", "--config", str(bridge.settings)]
    done = subprocess.run(
        [*command, "--status", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hooks"]["square"] == {"delivered": 1}
    shown = subprocess.run([*command, "--status"], capture_output=True, text=True, check=False)
    assert "delivered 1" in shown.stdout
    bridge.kill()
    gone = subprocess.run([*command, "--status"], capture_output=True, text=True, check=False)
    assert (gone.returncode, "no bridge answers" in gone.stderr) == (3, True)


def test_a_square_order_becomes_a_sale(bridge: BridgeProcess, broker: Broker) -> None:
    """From the signed request over bridge and broker to the mapping's canonical event."""
    lines = (HARDWARE / "square" / "samples.jsonl").read_text().splitlines()
    expected = (HARDWARE / "square" / "expected.jsonl").read_text().splitlines()
    payloads = [json.loads(line)["payload"] for line in lines]
    with watcher(broker, "square/#") as client:
        for payload in payloads:
            assert bridge.post_square(json.dumps(payload, indent=1).encode()).status == 200
        messages = heard(client, len(payloads))
    readings = [json.loads(line) for line in expected]
    wanted = [event for reading in readings for event in reading["events"]]
    assert wanted
    refused = [bool(reading.get("refused")) for reading in readings]
    assert _mapped("square", messages, refused=refused) == wanted


def test_a_webhook_that_is_told_twice_is_one_sale_in_the_agent(
    tmp_path: Path, broker: Broker
) -> None:
    """From the vendor's request to the agent's database: there once, through a kill of each."""
    extra = f'\n[mappings.square]\nfile = "{HARDWARE}/square/mapping.toml"\n'
    payloads = [
        json.loads(line)["payload"]
        for line in (HARDWARE / "square" / "samples.jsonl").read_text().splitlines()
    ]
    sold = next(
        json.dumps(each)
        for each in payloads
        if each.get("order", {}).get("state") == "COMPLETED" and not each["order"].get("returns")
    )
    # Sales of more than a week ago are counted, and change nothing any more.
    sold = sold.replace("2026-03-02T09:40:00.000Z", datetime.now(UTC).isoformat())
    bodies = [sold.replace('"ord1"', f'"order-{n}"').encode() for n in range(3)]
    assert len(set(bodies)) == 3
    with (
        running_agent(tmp_path / "agent", broker.port, extra=extra) as agent,
        running_bridge(tmp_path / "bridge", HOOKS, broker_port=broker.port) as bridge,
    ):
        assert bridge.post_square(bodies[0]).status == 200
        wait_for(lambda: _n_sales(agent) == 1, "the first sale")
        agent.kill()
        # The agent's session stays at the broker, and is somebody who subscribes.
        assert bridge.post_square(bodies[0]).status == 200
        assert bridge.post_square(bodies[1]).status == 200
        bridge.kill()
        bridge.start()
        bridge.wait_linked()
        agent.start()
        assert bridge.post_square(bodies[1]).status == 200
        assert bridge.post_square(bodies[2]).status == 200
        wait_for(lambda: _n_sales(agent) >= 3, "all sales")
        assert agent.stop() == 0
        assert _n_sales(agent) == 3


def _n_sales(agent: RunningAgent) -> int:
    with closing(
        sqlite3.connect(f"file:{agent.state / 'state.db'}?mode=ro", uri=True)
    ) as database:
        return int(database.execute("SELECT count(*) FROM sale").fetchone()[0])


def test_over_tls_too(tmp_path: Path, broker: Broker) -> None:
    """With certificate and key the listener speaks TLS only; the command still gets its status."""
    now = datetime.now(UTC)
    authority = pki.new_authority("store", now=now)
    issued = pki.issue(authority, "bridge", hosts=["127.0.0.1"], now=now, days=1)
    (tmp_path / "bridge").mkdir()
    cert, key = tmp_path / "bridge.crt", tmp_path / "bridge.key"
    cert.write_bytes(pki.pem(issued.certificate))
    key.write_bytes(pki.pem(issued.key))
    port = free_port()
    context = ssl.create_default_context(cadata=pki.pem(authority.certificate).decode())
    with running_bridge(
        tmp_path / "bridge",
        HOOKS,
        broker_port=broker.port,
        http_more=f'cert_file = "{cert}"\nkey_file = "{key}"\n',
        port=port,
        has_broker=False,
    ) as bridge:
        with watcher(broker, "#") as client:
            wait_for(lambda: _status(bridge)["broker"]["connected"] is True, "it has its broker")
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
            connection.request("POST", "/square", b"{}", square_headers(b"{}"))
            assert connection.getresponse().status == 200
            connection.close()
            assert heard(client, 1) == [("square/webhook", b"{}")]
        with pytest.raises((http.client.HTTPException, OSError)):
            bridge.post_square(b"{}")


def _status(bridge: BridgeProcess) -> dict[str, Any]:
    done = ran("bridge", "--status", "--json", "--config", bridge.settings)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_service_manager_hears_that_it_is_ready_and_alive(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY once it listens, WATCHDOG while it gets on, STOPPING at the end."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        with running_bridge(tmp_path / "bridge", HOOKS, broker_port=broker.port) as bridge:
            told = [manager.recv(200).decode() for _ in range(3)]
            assert bridge.stop() == 0
            while told[-1] != "STOPPING=1":
                told.append(manager.recv(200).decode())
    assert told[0].startswith("READY=1\nSTATUS=bridging at http://127.0.0.1:")
    assert set(told[1:-1]) == {"WATCHDOG=1"}


def _mapped(
    vendor: str, messages: list[tuple[str, bytes]], *, refused: list[bool]
) -> list[object]:
    events: list[object] = []
    for (topic, payload), is_refused in zip(messages, refused, strict=True):
        rules = HARDWARE / vendor / "mapping.toml"
        done = ran("map", "-m", rules, "--topic", topic, typed=payload)
        assert done.returncode == int(is_refused), done.stderr
        events += [json.loads(line) for line in done.stdout.splitlines()]
    return events
