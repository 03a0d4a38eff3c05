"""A real headless Chromium for a test, spoken to over a pipe (the DevTools protocol, no socket).

Every page records what must never happen on ours: dialogs, script errors, refused contents and
requests to anywhere else.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

ANSWER_S: Final = 30.0
POLL_S: Final = 0.03
# Well above what a test's own files take, so that the pipes can move to 3 and 4 in the child.
_HIGH_FD: Final = 64
_ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)
MISSING: Final = "chromium is missing: sudo apt-get install -y chromium"


@dataclass(slots=True, kw_only=True)
class Chromium:
    """One browser process and its pipe."""

    process: subprocess.Popen[bytes]
    to_browser: int
    from_browser: int
    events: list[dict[str, Any]] = field(default_factory=list)
    _last_id: int = 0
    _unread: bytes = b""

    def call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Calls one method and returns its result; what happens meanwhile goes to `events`."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._last_id:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self.from_browser], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            part = os.read(self.from_browser, 1 << 20)
            assert part, "the browser has ended"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def open(self, url: str, *, width: int = 1280, height: int = 720) -> Page:
        """Opens a page and returns when it has loaded."""
        # A window of its own: a page behind another one is not visible, and shows nothing.
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)
        target_id = target["targetId"]
        session = self.call("Target.attachToTarget", targetId=target_id, flatten=True)["sessionId"]
        page = Page(browser=self, session=session, target=target_id)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        page.go(url)
        return page


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, seen and touched from outside."""

    browser: Chromium
    session: str
    target: str

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method on this page."""
        return self.browser.call(method, session=self.session, **params)

    def go(self, url: str) -> None:
        """Loads an address and waits until its document is complete."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """Returns what an expression is in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, *, timeout_s: float = 20.0) -> None:
        """Waits until an expression is true in the page."""
        deadline = time.monotonic() + timeout_s
        while not self.value(expression):
            assert time.monotonic() < deadline, f"never true: {expression}\n{self.text()}"
            time.sleep(POLL_S)

    def text(self) -> str:
        """Returns what a person reads on the page."""
        return str(self.value("document.body.innerText"))

    def close(self) -> None:
        """Closes the page."""
        self.browser.call("Target.closeTarget", targetId=self.target)

    def mishaps(self, *, origin: str) -> list[str]:
        """Returns dialogs, script errors, refused contents and requests to another origin."""
        self.value("0")
        found = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            method, params = event["method"], event["params"]
            if method in {"Page.javascriptDialogOpening", "Runtime.exceptionThrown"}:
                found.append(f"{method}: {params}")
            if method == "Log.entryAdded" and params["entry"]["source"] == "security":
                found.append(f"{method}: {params['entry']['text']}")
            if method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(origin):
                    found.append(f"{method}: {url}")
        return found


@contextmanager
def running_chromium() -> Iterator[Chromium]:
    """A browser with a fresh profile, ended when the block ends."""
    path = shutil.which("chromium")
    assert path is not None, MISSING
    ours_read, theirs_write = os.pipe()
    theirs_read, ours_write = os.pipe()
    high_read = fcntl.fcntl(theirs_read, fcntl.F_DUPFD, _HIGH_FD)
    high_write = fcntl.fcntl(theirs_write, fcntl.F_DUPFD, _HIGH_FD)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        script = f'exec "$@" 3<&{high_read} 4>&{high_write}'
        process = subprocess.Popen(
            ["bash", "-c", script, "-", path, *_ARGUMENTS, f"--user-data-dir={profile}"],
            pass_fds=(high_read, high_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for each in (theirs_read, theirs_write, high_read, high_write):
            os.close(each)
        browser = Chromium(process=process, to_browser=ours_write, from_browser=ours_read)
        try:
            yield browser
        finally:
            _end(browser)


def _end(browser: Chromium) -> None:
    os.close(browser.to_browser)
    try:
        browser.process.wait(10)
    except subprocess.TimeoutExpired:
        browser.process.kill()
        browser.process.wait()
    os.close(browser.from_browser)
