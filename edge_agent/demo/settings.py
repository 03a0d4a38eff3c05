"""What a demo is asked to do, its folder, and the configuration that its agent gets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from edge_agent.config import parse
from edge_agent.errors import ConfigError
from edge_agent.hq.keys import public_text
from edge_agent.replay.layout import layout_toml, store_layout
from edge_agent.replay.play import ReplayOptions
from edge_agent.replay.sensors import CONSENT_DESK, DOOR_COUNTER
from edge_agent.replay.stream import LATENESS_S
from edge_agent.shell.resources import released_bundle
from edge_agent.shell.rule_files import load_rules
from edge_agent.shell.signing import DEMO_KEY_ID, demo_private_key


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A demo.

    Attributes:
        replay: Which day is played, and how.
        host: Address that the pages are served on.
        port: Their port; 0 takes a free one.
        identifiers: File for every raw identifier that was used; None writes none.
        rules: The chain's policy; None decides without one.
    """

    replay: ReplayOptions
    host: str
    port: int
    identifiers: Path | None = None
    rules: Path | None = None


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Where a demo leaves what it made."""

    path: Path

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.path / "agent.toml"

    @property
    def agent_database(self) -> Path:
        """The agent's database."""
        return self.path / "agent" / "state.db"

    @property
    def hq_database(self) -> Path:
        """HQ's database."""
        return self.path / "hq.db"

    @property
    def agent_log(self) -> Path:
        """What the agent wrote to standard error."""
        return self.path / "agent.log"

    @property
    def demo_log(self) -> Path:
        """The log of HQ, of the pages and of all links but the agent's."""
        return self.path / "demo.log"

    def prepare(self) -> None:
        """Makes the folder, and the files in it that the demo itself writes.

        Raises:
            ConfigError: They cannot be made, or it holds another demo's state.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_earlier()
            for path in (self.config, self.agent_log, self.demo_log):
                # Opened: a folder of that name, or another's file, would only show later.
                path.open("a", encoding="utf-8").close()
        except OSError as error:
            raise ConfigError(
                f"--state {self.path}: {error.strerror}", hint="choose a folder you may write to"
            ) from error

    def _refuse_earlier(self) -> None:
        for taken in (self.agent_database, self.hq_database):
            if taken.exists():
                # The same day again would be nothing but duplicates.
                raise ConfigError(
                    f"--state {self.path} holds the state of an earlier demo",
                    hint="choose an empty folder, or delete this one",
                )


def agent_toml(
    folder: StateFolder,
    options: ReplayOptions,
    *,
    store_port: int,
    hq_port: int,
    rules: Path | None = None,
) -> str:
    """Returns the configuration of the demo's agent."""
    bundle = released_bundle()
    sections = [
        f"store = {_text(options.store)}",
        f"timezone = {_text(options.timezone)}",
        'locale = "en"',
        'currency = "USD"',
        'clock = "replay"',
        f"seed = {_text(str(options.seed))}",
        *([] if rules is None else [f"rules = {_text(str(rules.absolute()))}"]),
        "[state]",
        f"directory = {_text(str(folder.agent_database.parent.absolute()))}",
        # A network whose disorder is known: what is late by as much is put in order first.
        *(["[ingest]", f"hold_back_s = {LATENESS_S}"] if options.shuffle else []),
        "[broker]",
        f"port = {store_port}",
        "[hq]",
        f"port = {hq_port}",
        f"keys = {{{DEMO_KEY_ID} = {_text(public_text(demo_private_key()))}}}",
        "[model]",
        *([] if bundle is None else [f"bundle = {_text(str(bundle))}"]),
        # The desk is told when a consent is on disk: only then may HQ send who it is about.
        f"[sources.{CONSENT_DESK}]",
        "receipt = true",
        # The door counter reports every minute: its receipts tell how far the agent has come.
        f"[sources.{DOOR_COUNTER}]",
        "receipt = true",
    ]
    return "\n".join(sections) + "\n\n" + layout_toml(store_layout())


def check_rules(path: Path, options: ReplayOptions) -> None:
    """Checks a policy against the demo's store, before anything is made or started.

    The agent goes on without a policy that is wrong, or that does not go together with its
    store; in a demo the policy is what was asked for.

    Raises:
        ConfigError: It is wrong; `problems` names every place.
    """
    # Neither folder nor ports are anything that a policy refers to.
    text = agent_toml(StateFolder(Path()), options, store_port=1, hq_port=1)
    load_rules(path, parse(text, name="the demo's agent.toml"))


def _text(value: str) -> str:
    # A JSON string of printable characters is a TOML basic string as well.
    return json.dumps(value, ensure_ascii=False)
