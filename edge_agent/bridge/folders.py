r"""The file way in: a watched folder, each file published once, whatever happens in between.

Theory of operation. A file is in exactly one place, and moves by rename alone:

    FOLDER/name  ->  FOLDER/working/STAMP-name  ->  FOLDER/done/STAMP-name
                \                              \->  FOLDER/refused/STAMP-name + .reason.json

It is picked up when it has settled, published from `working`, and leaves it only after the
broker's PUBACK. Whatever is found in `working` is published again: after a kill between PUBACK and
rename a message is sent twice, with the same bytes, which the mapping's event ids make one. The
renames cannot be reordered with the publish, because each step waits for the one before.

Names come from outside: nothing is opened by path (all calls are relative to folders that are held
open), links are not followed, and only regular files are read.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.bridge import templates
from edge_agent.bridge.documents import why_not_whole
from edge_agent.bridge.drop_store import DropStore, StoreGoneError
from edge_agent.bridge.publisher import Answer

if TYPE_CHECKING:
    from concurrent.futures import Future
    from threading import Event

    from edge_agent.bridge.publisher import Publisher
    from edge_agent.bridge.settings import FolderSection
    from edge_agent.bridge.tally import Tally
    from edge_agent.ports import Clock

# What writers call a file that they have not finished.
UNFINISHED: Final = re.compile(
    r"(?:^\.|~$|\.(?:tmp|temp|part|partial|filepart|crdownload|swp)$)", re.IGNORECASE
)
# A stamp goes in front and a suffix behind; a file system takes 255 bytes.
NAME_BYTES_MAX: Final = 200
FILES_PER_TURN: Final = 200
# A message that the broker will not take now is offered again after so long.
RETRY_S: Final = 5.0
TIDY_EVERY_S: Final = 60.0

_BROKER_TROUBLE: Final = frozenset({Answer.NO_BROKER, Answer.LATE, Answer.BUSY})

Identity = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    payload: bytes
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unfit:
    reason: str
    may_heal: bool


@dataclass(slots=True, kw_only=True)
class _Sent:
    identity: Identity
    answer: Future[Answer]


class DropFolder:
    """One watched folder; only its own thread calls it."""

    def __init__(
        self,
        name: str,
        section: FolderSection,
        publisher: Publisher,
        *,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.part = f"folder {name}"
        self._section = section
        self._publisher = publisher
        self._tally = tally
        self._clock = clock
        self._pattern = templates.name_pattern(section.pattern)
        self._topic = templates.topic_template(
            section.topic, self._pattern.fields, has_headers=False
        )
        self._store = DropStore(section.path)
        self._seen: dict[str, tuple[Identity, float]] = {}
        self._sent: dict[str, _Sent] = {}
        self._not_before_s: dict[str, float] = {}
        self._unwhole_since_s: dict[str, float] = {}
        self._last: Answer | None = None
        self._tidied_s = clock.monotonic_s() - TIDY_EVERY_S
        self._moved_s = clock.monotonic_s()
        self.n_waiting = 0
        self.trouble: str | None = None

    def silent_s(self) -> float:
        """Returns how long it has not got on with anything, its rest between two turns apart."""
        return self._clock.monotonic_s() - self._moved_s - self._section.poll_s

    def run(self, stopping: Event) -> None:
        """Polls until told to stop."""
        while not stopping.is_set():
            self.turn(stopping)
            self._moved_s = self._clock.monotonic_s()
            stopping.wait(self._section.poll_s)
        self._store.close()

    def turn(self, stopping: Event) -> None:
        """Delivers what is in `working`, then what has settled, then tidies."""
        self._last = None
        try:
            self._store.open(self._clock.now_ms())
            self._resume(stopping)
            self._pick_up(stopping)
            self._tidy()
        except (StoreGoneError, OSError) as error:
            self.trouble = str(error)
            self._tally.complain("folder_unavailable", self.part, "unavailable", why=str(error))
        else:
            self.trouble = None

    # --- what was picked up already -------------------------------------------------------------

    def _resume(self, stopping: Event) -> None:
        now_s = self._clock.monotonic_s()
        names = sorted(self._store.names("working"))
        for known in (self._sent, self._not_before_s, self._unwhole_since_s):
            for gone in set(known) - set(names):
                known.pop(gone, None)
        due = [name for name in names if now_s >= self._not_before_s.get(name, now_s)]
        for name in due[:FILES_PER_TURN]:
            if stopping.is_set() or not self._may_go_on():
                return
            self._deliver(name)

    def _may_go_on(self) -> bool:
        self._moved_s = self._clock.monotonic_s()
        # A broker that is away, or answers nothing, would cost every file the same wait.
        return self._publisher.is_linked and self._last not in _BROKER_TROUBLE

    def _deliver(self, name: str) -> None:
        """Publishes a file in `working` and moves it on when the broker has it."""
        found = self._read("working", name)
        if found is None:
            return
        if isinstance(found, _Unfit):
            self._wait_or_refuse("working", name, found)
            return
        topic = self._topic_of(self._store.original_name(name))
        if topic is None:
            self._refuse("working", name, "name_fits_no_topic")
            return
        self._last = answer = self._answer_to(name, topic, found)
        if answer is Answer.DELIVERED:
            self._finish(name, found.identity)
        elif answer is Answer.TOO_LARGE:
            self._refuse("working", name, str(answer))
        else:
            self._not_before_s[name] = self._clock.monotonic_s() + RETRY_S
            self._tally.complain("file_waits", self.part, str(answer), topic=self._topic.text)

    def _answer_to(self, name: str, topic: str, found: _Read) -> Answer:
        sent = self._sent.get(name)
        # An answer that did not come in time may still come: the same is not sent twice for that.
        if sent is None or sent.identity != found.identity:
            offered = self._publisher.offer(topic, found.payload)
            sent = self._sent[name] = _Sent(identity=found.identity, answer=offered)
        try:
            answer = sent.answer.result(self._publisher.answer_within_s)
        except TimeoutError:
            return Answer.LATE
        del self._sent[name]
        return answer

    def _finish(self, name: str, identity: Identity) -> None:
        if self._store.identity("working", name) != identity:
            # Its writer went on after it was picked up: what was sent was not all.
            self._tally.complain("file_changed", self.part, "changed_while_sent")
            return
        if self._section.done_keep_days and self._section.done_keep_files:
            self._store.move("working", "done", name)
        else:
            self._store.remove("working", name)
        self._tally.add(self.part, Answer.DELIVERED)

    # --- what lies in the folder ----------------------------------------------------------------

    def _pick_up(self, stopping: Event) -> None:
        candidates = self._candidates()
        self.n_waiting = len(candidates)
        for name in self._settled(candidates)[:FILES_PER_TURN]:
            # Without the broker a file stays where its writer put it.
            if stopping.is_set() or not self._may_go_on():
                return
            self._take(name)

    def _candidates(self) -> dict[str, os.stat_result]:
        found: dict[str, os.stat_result] = {}
        for name in self._store.names("folder"):
            if UNFINISHED.search(name) or self._pattern.match(name) is None:
                continue
            about = self._store.about("folder", name)
            if about is not None and not stat.S_ISDIR(about.st_mode):
                found[name] = about
        return found

    def _settled(self, candidates: dict[str, os.stat_result]) -> list[str]:
        """The names that have not changed for the settling time, the oldest first."""
        now_s = self._clock.monotonic_s()
        seen: dict[str, tuple[Identity, float]] = {}
        for name, about in candidates.items():
            identity = _identity(about)
            known = self._seen.get(name)
            seen[name] = known if known and known[0] == identity else (identity, now_s)
        self._seen = seen
        settled = [name for name, (_, at) in seen.items() if now_s - at >= self._section.settle_s]
        return sorted(settled, key=lambda name: (candidates[name].st_mtime_ns, name))

    def _take(self, name: str) -> None:
        if len(os.fsencode(name)) > NAME_BYTES_MAX:
            self._refuse("folder", name, "name_too_long")
            return
        if self._topic_of(name) is None:
            self._refuse("folder", name, "name_fits_no_topic")
            return
        found = self._read("folder", name)
        if isinstance(found, _Unfit):
            self._wait_or_refuse("folder", name, found)
            return
        taken = self._store.move("folder", "working", name) if found else None
        if taken is not None:
            self._deliver(taken)

    def _topic_of(self, name: str) -> str | None:
        fields = self._pattern.match(name)
        return None if fields is None else self._topic.filled(fields, {})

    # --- both -----------------------------------------------------------------------------------

    def _read(self, place: str, name: str) -> _Read | _Unfit | None:
        """A file's bytes, or why it cannot be published; None when it has gone."""
        about = self._store.about(place, name)
        if about is None:
            return None
        unfit = self._unfit_kind(about)
        if unfit is not None:
            return unfit
        try:
            payload, about = self._store.read(place, name, self._section.max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _Unfit(reason=f"unreadable: {error.strerror}", may_heal=True)
        return self._unfit_kind(about) or self._whole(payload, about)

    def _unfit_kind(self, about: os.stat_result) -> _Unfit | None:
        if stat.S_ISLNK(about.st_mode):
            return _Unfit(reason="link", may_heal=False)
        if not stat.S_ISREG(about.st_mode):
            return _Unfit(reason="no_regular_file", may_heal=False)
        if about.st_size > self._section.max_bytes:
            return _Unfit(reason="too_large", may_heal=False)
        return None

    def _whole(self, payload: bytes, about: os.stat_result) -> _Read | _Unfit:
        if len(payload) > self._section.max_bytes:
            return _Unfit(reason="too_large", may_heal=False)
        unwhole = why_not_whole(payload, self._section.document)
        if unwhole is not None:
            return _Unfit(reason=unwhole, may_heal=True)
        return _Read(payload=payload, identity=_identity(about))

    def _wait_or_refuse(self, place: str, name: str, unfit: _Unfit) -> None:
        now_s = self._clock.monotonic_s()
        if place == "folder":
            since_s = self._seen[name][1] + self._section.settle_s
        else:
            since_s = self._unwhole_since_s.setdefault(name, now_s)
        if not unfit.may_heal or now_s - since_s >= self._section.complete_within_s:
            self._refuse(place, name, unfit.reason)

    def _refuse(self, place: str, name: str, reason: str) -> None:
        with suppress(FileNotFoundError):
            self._store.refuse(place, name, reason)
            self._tally.complain("file_refused", self.part, reason, file=name)

    def _tidy(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._tidied_s < TIDY_EVERY_S:
            return
        self._tidied_s = now_s
        now_ms, section = self._clock.now_ms(), self._section
        self._store.prune("done", now_ms, section.done_keep_days, section.done_keep_files)
        # Each refused file has its reason beside it.
        self._store.prune(
            "refused", now_ms, section.refused_keep_days, 2 * section.refused_keep_files
        )


def _identity(about: os.stat_result) -> Identity:
    return about.st_ino, about.st_size, about.st_mtime_ns
