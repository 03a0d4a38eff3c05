"""Which rules are in force: loaded at the start, again when asked, whole or not at all.

A policy that was good is kept in the database as it was written. When its file is broken later,
what was in force goes on: in the running agent, and after a restart too. The refusal stands in
the log, in `edge-agent status` and in the agent's state until the file is mended. Each version is
kept under its name for as long as a decision names it (`shell.rule_versions`).

A file that is good by itself and does not go together with HQ's campaigns (there may be too many
of both) is refused too: what was said today would silently end. Where no policy is in force that
could go on, the file holds, since what it forbids is forbidden, and HQ's campaigns are left out as
a whole. That is told (`hq_campaigns_unused`), and so is one of HQ's whose name the file has.
"""

from __future__ import annotations

import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent import config as configuration
from edge_agent.decide.hq_campaigns import NO_FILE, joined, section_of, section_text, still_on
from edge_agent.domain.ids import CampaignId
from edge_agent.domain.rules import NEUTRAL, Rules
from edge_agent.domain.time import datetime_from_ms
from edge_agent.errors import ConfigError
from edge_agent.ingest.places import line_of
from edge_agent.shell.health import HQ_CAMPAIGNS_PROBLEM, RULES_IN_FORCE, RULES_PROBLEM
from edge_agent.shell.rule_versions import JOINED, POLICY, RuleVersions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from edge_agent.config import Config
    from edge_agent.ports import UnitOfWork
    from edge_agent.wire.downlink import CampaignBody

log = logging.getLogger(__name__)

# Of what HQ is told of a campaign that it must mend.
REASON_MAX: Final = 1_000
_META: Final = "SELECT value FROM meta WHERE key = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found where the policy should be: rules, none meant, or why there are none."""

    rules: Rules = NEUTRAL
    text: str = ""
    name: str = ""
    error: ConfigError | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with it, each place; None when nothing is."""
        return None if self.error is None else _told(self.error)


def _files() -> ModuleType:
    """Returns what reads policies; an agent without one spares its memory."""
    from edge_agent.shell import rule_files  # noqa: PLC0415 - as said

    return rule_files


class RuleDesk:
    """Loads the chain's policy and writes down which one is in force."""

    def __init__(self, config: Config, path: Path | None) -> None:
        self._config = config
        self._path = path
        self._versions = RuleVersions()
        self._written = {RULES_IN_FORCE: "", RULES_PROBLEM: "", HQ_CAMPAIGNS_PROBLEM: ""}
        self.rules: Rules = NEUTRAL
        # What its file says, for HQ's campaigns to be put beside it.
        self._document: Mapping[str, Any] = NO_FILE
        # What was judged is what comes into force next.
        self._joined: tuple[str, Rules] = ("", NEUTRAL)
        self.problem = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What the agent's state tells of rules."""
        unused = bool(self._written[HQ_CAMPAIGNS_PROBLEM])
        refused = ("rules_refused",) if self.problem else ()
        return (*refused, "hq_campaigns_unused") if unused else refused

    def start(self, unit: UnitOfWork, *, campaigns: Mapping[CampaignId, str], now_ms: int) -> None:
        """Loads the configuration's policy, at the agent's start."""
        self._versions.read(unit)
        for key in self._written:
            self._written[key] = next((str(row[0]) for row in unit.query(_META, (key,))), "")
        version = self._written[RULES_IN_FORCE]
        text = self._versions.text_of(version, unit)
        if self._config.rules is not None and text is not None:
            self._go_on_with(text, version)
            own = None if self.rules is NEUTRAL else self.rules
            self._versions.use(POLICY, own, text, unit, now_ms=now_ms)
        self.take(self._read(self._config), unit, campaigns=campaigns, now_ms=now_ms)

    def purged(self, unit: UnitOfWork) -> None:
        """Notes which versions are still kept, after a purge."""
        self._versions.read(unit)

    def write_again(self, unit: UnitOfWork) -> None:
        """Writes down anew what a batch held that was taken back."""
        self._versions.write_again(unit)
        for key, value in self._written.items():
            stored = unit.query(_META, (key,))
            if (stored or value) and stored != [(value,)]:
                unit.add("meta", (key, value))

    def read(self) -> Found:
        """Reads the file again, and changes nothing: in any thread, for a large one takes long."""
        return self._reading(self._read)

    def read_shadow(self) -> Found:
        """Reads the file of the policy that runs muted beside, in the same way."""
        return self._reading(lambda config: self._found_in(config.shadow_rules))

    def _reading(self, find: Callable[[Config], Found]) -> Found:
        try:
            config = self._config if self._path is None else configuration.load(self._path)
        except ConfigError as error:
            # Which file is meant cannot be told.
            return Found(error=error)
        return find(config)

    def take(
        self,
        found: Found,
        unit: UnitOfWork,
        *,
        campaigns: Mapping[CampaignId, str],
        now_ms: int,
    ) -> None:
        """Puts in force what was read; whatever is wrong leaves in force what was.

        Args:
            found: What was read.
            unit: Takes what is written down of it.
            campaigns: HQ's, which it must go together with.
            now_ms: The present.
        """
        rules = found.rules
        error = found.error
        if error is None and rules is not NEUTRAL:
            error = self._taken_name(found) or self._unfit(found, campaigns, now_ms)
        if error is not None:
            self._refuse(error, unit)
            return
        own = None if rules is NEUTRAL else rules
        self._versions.use(POLICY, own, found.text, unit, now_ms=now_ms)
        self._document = NO_FILE if rules is NEUTRAL else tomllib.loads(found.text)
        self._put_in_force(rules, unit)

    def _read(self, config: Config) -> Found:
        return self._found_in(config.rules)

    def _found_in(self, named: str | None) -> Found:
        if named is None:
            return Found()
        path = Path(named)
        try:
            text = _files().text_of(path)
            rules = _files().rules_of(text, name=str(path), config=self._config)
        except ConfigError as error:
            return Found(error=error)
        return Found(rules=rules, text=text, name=str(path))

    def joined(
        self, campaigns: Mapping[CampaignId, str], unit: UnitOfWork, *, now_ms: int
    ) -> Rules:
        """Returns the policy in force with HQ's campaigns in it; kept like any that decides."""
        try:
            text, rules = self._join(self._document, campaigns, now_ms)
        except (ConfigError, ValueError, TypeError) as error:
            # Another release of the agent may read them no more, or the disk has rotted.
            problem = _told(error) if isinstance(error, ConfigError) else type(error).__name__
            text, rules = "", self.rules
        else:
            problem = _shadowed(self._document, still_on(campaigns, now_ms=now_ms))
        self._tell_unused(problem, unit)
        own = None if rules is self.rules else rules
        self._versions.use(JOINED, own, text, unit, now_ms=now_ms)
        if own is not None:
            log.info("hq_campaigns_joined", extra={"fields": {"version": rules.version}})
        return rules

    def _join(
        self, document: Mapping[str, Any], campaigns: Mapping[CampaignId, str], now_ms: int
    ) -> tuple[str, Rules]:
        """Returns a policy with HQ's campaigns in it; those that are over never stand in its way.

        Raises:
            ConfigError: They do not go together.
        """
        if not campaigns:
            return "", self.rules
        text = joined(document, campaigns)
        try:
            rules = self._joined_of(text)
        except ConfigError:
            going_on = still_on(campaigns, now_ms=now_ms)
            if going_on == campaigns:
                raise
            return self._join(document, going_on, now_ms)
        if self._versions.other_of(rules) is not None:
            what = f"{rules.version!r} is the name of other contents"
            raise ConfigError(what)
        return text, rules

    def _unfit(
        self, found: Found, campaigns: Mapping[CampaignId, str], now_ms: int
    ) -> ConfigError | None:
        """Returns why a file does not go together with HQ's campaigns; None where it holds.

        It holds too where none is in force, or where HQ's campaigns are left out already.
        """
        is_joined = self._versions.is_used(JOINED)
        if self.rules is NEUTRAL or not (is_joined or self._can_join(campaigns, now_ms)):
            return None
        try:
            self._join(tomllib.loads(found.text), campaigns, now_ms)
        except ConfigError as error:
            what = f"{found.name}: together with HQ's campaigns: {_told(error)}"
            return ConfigError(f"{found.name} is wrong", problems=(what,))
        return None

    def _can_join(self, campaigns: Mapping[CampaignId, str], now_ms: int) -> bool:
        try:
            self._join(self._document, campaigns, now_ms)
        except (ConfigError, ValueError, TypeError):
            return False
        return True

    def _tell_unused(self, problem: str, unit: UnitOfWork) -> None:
        if problem and problem != self._written[HQ_CAMPAIGNS_PROBLEM]:
            log.error("hq_campaigns_unused", extra={"fields": {"problem": problem}})
        self._write(unit, HQ_CAMPAIGNS_PROBLEM, problem)

    def refusal_of(
        self, body: CampaignBody, campaigns: Mapping[CampaignId, str], *, now_ms: int
    ) -> str | None:
        """Returns why a campaign of HQ's cannot be used beside what is in force; None if it can.

        Args:
            body: The campaign.
            campaigns: Those that HQ defined before.
            now_ms: The present.
        """
        if body.currency not in {None, self._config.currency}:
            return f"the store's currency is {self._config.currency}"
        name = CampaignId(body.campaign)
        if name in self._document.get("campaigns", {}):
            return "the chain's policy file has a campaign of this name"
        told = {**campaigns, name: section_text(section_of(body))}
        try:
            self._join(self._document, told, now_ms)
        except ConfigError as error:
            return _told(error)[:REASON_MAX]
        return None

    def _joined_of(self, text: str) -> Rules:
        if self._joined[0] != text:
            self._joined = (text, self._again(text, "HQ's campaigns"))
        return self._joined[1]

    def _again(self, text: str, name: str) -> Rules:
        # Where it stood already, a screen that is gone since spoils nothing.
        config = self._config
        rules: Rules = _files().rules_of(text, name=name, config=config, is_in_force=True)
        return rules

    def _go_on_with(self, text: str, version: str) -> None:
        try:
            self.rules = self._again(text, version)
            self._document = tomllib.loads(text)
        except ConfigError as error:
            # Another release of the agent may read it no more.
            fields = {"version": version, "problem": _told(error)}
            log.error("kept_rules_refused", extra={"fields": fields})  # noqa: TRY400 - told in our words

    def _taken_name(self, found: Found) -> ConfigError | None:
        """Returns why a version cannot be called so; None when it can."""
        version = found.rules.version
        kept = self._versions.other_of(found.rules)
        if kept is None:
            return None
        day, line = datetime_from_ms(kept.since_ms).date(), line_of(found.text, ("version",))
        what = (
            f"{found.name}:{line}: version: {version!r} is the name of other contents since {day};"
            " give these a new one"
        )
        return ConfigError(f"{found.name} is wrong", problems=(what,))

    def _put_in_force(self, rules: Rules, unit: UnitOfWork) -> None:
        is_other = rules != self.rules
        self.rules, self.problem = rules, ""
        in_force = "" if rules is NEUTRAL else rules.version
        self._write(unit, RULES_IN_FORCE, in_force)
        self._write(unit, RULES_PROBLEM, "")
        if is_other:
            fields = {"version": rules.version, "digest": rules.digest}
            log.info("rules_loaded", extra={"fields": fields})

    def _refuse(self, error: ConfigError, unit: UnitOfWork) -> None:
        self.problem = _told(error)
        self._write(unit, RULES_PROBLEM, self.problem)
        fields = {"problem": self.problem, "goes_on": self.rules.version}
        log.error("rules_refused", extra={"fields": fields})

    def _write(self, unit: UnitOfWork, key: str, value: str) -> None:
        if value != self._written[key]:
            self._written[key] = value
            unit.add("meta", (key, value))


def _shadowed(document: Mapping[str, Any], campaigns: Mapping[CampaignId, str]) -> str:
    """Returns which of HQ's campaigns the file has its own of that name for; empty for none."""
    names = sorted(campaigns.keys() & document.get("campaigns", {}).keys())
    return f"the policy file has campaigns of these names: {', '.join(names)}" if names else ""


def _told(error: ConfigError) -> str:
    return "; ".join(error.problems) or error.message
