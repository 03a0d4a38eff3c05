"""The bundles in use: which is live, which runs beside it, and how another takes its place.

A bundle is verified as a whole before anything changes: its choice is on the disk before the
switch, and the core thread switches between two batches. So decisions never stop, and whatever is
refused leaves the old bundle deciding. At the start the first of live, previous and configured
that still verifies is taken.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import AgentUnreachable, BundleError
from edge_agent.shell.bundles import Bundle, check_install_by, load_bundle, signature_of
from edge_agent.shell.model_store import CONFIGURED, KEPT_WITHDRAWN, check_version, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from edge_agent.shell.model_store import Choice, ModelStore

log = logging.getLogger(__name__)

LIVE: Final = "live"
SHADOW: Final = "shadow"
PREVIOUS: Final = "previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """The bundles that are loaded.

    Attributes:
        live: Decides; None is popularity.
        other: Is compared with it, in the role `shadow` or `previous`; None when nothing is.
    """

    live: Bundle | None
    other: Bundle | None = None
    other_name: str = ""
    role: str = ""


class InstalledModels:
    """Loads, installs and rolls back; one at a time."""

    def __init__(
        self,
        store: ModelStore,
        *,
        configured: Path | None,
        public_key: bytes | None,
        today: Callable[[], date],
    ) -> None:
        self._store = store
        self._configured = configured
        self._public_key = public_key
        self._today = today
        self._lock = threading.Lock()
        self.choice: Choice = store.read()
        self.in_use = InUse(live=None)
        # Why a bundle that should be in use is not; for whoever asks how the agent is.
        self.refused: dict[str, str] = {}

    def load(self) -> InUse:
        """Loads what the choice names, or the next best that verifies; called at the start."""
        self._store.prune(self.choice, staged=True)
        live: Bundle | None = None
        for name in dict.fromkeys((self.choice.live, self.choice.previous, CONFIGURED)):
            live = None if name is None else self._try(name)
            if live is not None and name is not None:
                self._note_live(name)
                break
        shadow = self.choice.shadow
        other = None if shadow is None else self._try(shadow)
        self.in_use = InUse(
            live=live,
            other=other,
            other_name=shadow or "" if other is not None else "",
            role=SHADOW if other is not None else "",
        )
        return self.in_use

    def _note_live(self, name: str) -> None:
        choice = self.choice
        if name != choice.live:
            log.error("bundle_fallen_back", extra={"fields": {"to": name}})
            previous = None if name == choice.previous else choice.previous
            self.choice = replace(choice, live=name, previous=previous)

    def install(
        self, staged: str, *, role: str, switch: Callable[[InUse], None]
    ) -> dict[str, Any]:
        """Verifies a staged copy and puts it to use, as `live` or as `shadow`.

        Raises:
            BundleError: It is refused; nothing changed and the copy is removed.
        """
        with self._lock:
            try:
                bundle = load_bundle(self._store.staged(staged), public_key=self._trusted_key())
                check_install_by(bundle.manifest, today=self._today())
                digest = str(bundle.manifest["digest"])
                check_version(self._floor(), bundle.version, digest)
            except BundleError:
                self._store.discard(staged)
                raise
            name = self._store.adopt(staged, bundle.manifest)
            if name == self.choice.live:
                raise BundleError(f"{bundle.version} is live already")
            choice = replace(self.choice, highest=bundle.version, highest_digest=digest)
            if role == LIVE:
                new = replace(choice, live=name, previous=choice.live, shadow=None)
                # The one before keeps scoring beside it, and takes over again when it is better.
                before = self.in_use.live
                self._change(
                    new,
                    InUse(
                        live=bundle,
                        other=before,
                        other_name="" if before is None else choice.live,
                        role="" if before is None else PREVIOUS,
                    ),
                    switch,
                )
            else:
                now = InUse(live=self.in_use.live, other=bundle, other_name=name, role=SHADOW)
                self._change(replace(choice, shadow=name), now, switch)
            return {"installed": name, "version": bundle.version, "as": role}

    def roll_back(self, *, switch: Callable[[InUse], None]) -> dict[str, Any]:
        """Makes the bundle before live again, and withdraws the one that was.

        The withdrawn one is not taken again, and versions count from the restored one on: so a
        version that ran far ahead does not keep true ones out.

        Raises:
            BundleError: There is none before, or it is damaged.
        """
        with self._lock:
            choice = self.choice
            if choice.previous is None:
                raise BundleError(
                    "there is no bundle before the live one", hint="edge-agent model show"
                )
            restored = self._load(choice.previous)
            bad = self.in_use.live
            new = replace(
                choice,
                live=choice.previous,
                previous=None,
                shadow=None,
                highest="" if restored is None else restored.version,
                highest_digest="" if restored is None else str(restored.manifest["digest"]),
                withdrawn=_with(choice.withdrawn, bad),
            )
            self._change(new, InUse(live=restored), switch)
            version = None if restored is None else restored.version
            return {"live": new.live, "version": version, "withdrawn": choice.live}

    def withdraw_shadow(self, *, switch: Callable[[InUse], None]) -> None:
        """Ends the shadow and refuses it from now on."""
        with self._lock:
            worse = self.in_use.other
            new = replace(self.choice, shadow=None, withdrawn=_with(self.choice.withdrawn, worse))
            self._change(new, InUse(live=self.in_use.live), switch)

    def trust_live(self) -> None:
        """Lets go of the bundle before: the live one has proven itself; `rollback` reads it."""
        with self._lock:
            self.in_use = InUse(live=self.in_use.live)

    def show(self) -> dict[str, Any]:
        """Returns which bundle is what, in this process."""
        live, other = self.in_use.live, self.in_use.other
        return {
            "live": None if live is None else live.version,
            "other": None if other is None else other.version,
            "role": self.in_use.role or None,
            "signature": None
            if live is None
            else signature_of(live.manifest, public_key=self._public_key),
            "refused": dict(self.refused),
        }

    def _change(self, choice: Choice, in_use: InUse, switch: Callable[[InUse], None]) -> None:
        before, self.in_use = self.in_use, in_use
        try:
            # On the disk first: an end in between starts with the new one.
            self._store.write(choice)
            switch(in_use)
        except (OSError, AgentUnreachable) as error:
            self.in_use = before
            self._store.write(self.choice)
            raise BundleError(
                f"the bundle could not be put to use: {error}", hint="the old one goes on"
            ) from error
        self.choice = choice
        self._store.prune(choice, staged=False)
        fields = {"live": choice.live, "shadow": choice.shadow, "previous": choice.previous}
        log.info("bundles_changed", extra={"fields": fields})

    def _floor(self) -> Choice:
        """Returns the choice with the live version counted in, however it came to be live."""
        live = self.in_use.live
        choice = self.choice
        if live is None or numbers_of(live.version) <= numbers_of(choice.highest):
            return choice
        return replace(choice, highest=live.version, highest_digest=str(live.manifest["digest"]))

    def _trusted_key(self) -> bytes | None:
        """Returns who must have signed: the configured key, else the live bundle's own."""
        live = self.in_use.live
        if self._public_key is not None or live is None:
            return self._public_key
        named = live.manifest.get("public_key")
        return None if named is None else bytes.fromhex(str(named))

    def _load(self, name: str) -> Bundle | None:
        path = self._configured if name == CONFIGURED else self._store.path_of(name)
        return None if path is None else load_bundle(path, public_key=self._public_key)

    def _try(self, name: str) -> Bundle | None:
        try:
            return self._load(name)
        except BundleError as error:
            # No model is no reason not to serve: the next best takes over, and says so.
            self.refused[name] = error.message
            fields = {"bundle": name, "error": error.message, "hint": error.hint}
            log.error("bundle_refused", extra={"fields": fields})  # noqa: TRY400 - told in our words
            return None


def _with(withdrawn: tuple[str, ...], bundle: Bundle | None) -> tuple[str, ...]:
    digests = () if bundle is None else (str(bundle.manifest["digest"]),)
    return (*withdrawn, *digests)[-KEPT_WITHDRAWN:]
