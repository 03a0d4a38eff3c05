"""Other rules beside HQ's campaigns, as a recorded decision had them.

HQ's campaigns are joined with the chain's file while a store runs, and each joined text is kept.
Whoever asks what other rules would have said joins those too: HQ's that the decision's rules held.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from edge_agent.decide.hq_campaigns import NO_FILE, is_of, joined, parted, sections_in, stem_of
from edge_agent.domain.rules import NEUTRAL
from edge_agent.errors import ConfigError
from edge_agent.shell.rule_files import rules_of, text_of
from edge_agent.shell.rule_versions import unpacked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.config import Config
    from edge_agent.domain.ids import CampaignId
    from edge_agent.domain.rules import Rules


class KeptTexts:
    """The policies that a database keeps, each as a file and HQ's campaigns beside it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._texts = {
            str(version): unpacked(text)
            for version, text in connection.execute("SELECT version, text FROM rule_set")
        }
        self._documents = {name: tomllib.loads(text) for name, text in self._texts.items()}
        self._still_hqs = frozenset(
            str(name) for (name,) in connection.execute("SELECT id FROM campaign")
        )
        self._parts: dict[str, tuple[Mapping[str, Any], Mapping[CampaignId, str]]] = {}

    def text(self, version: str) -> str:
        """Returns a policy as it was written, or joined."""
        return self._texts[version]

    def file(self, version: str) -> Mapping[str, Any]:
        """Returns a policy without HQ's campaigns; `NO_FILE` where it held nothing else."""
        return self._parted(version)[0]

    def hqs(self, version: str | None) -> Mapping[CampaignId, str]:
        """Returns HQ's campaigns in a policy as sections; none of a policy that is not kept."""
        is_kept = version is not None and version in self._texts
        return self._parted(version)[1] if is_kept and version is not None else {}

    def _parted(self, version: str) -> tuple[Mapping[str, Any], Mapping[CampaignId, str]]:
        if version not in self._parts:
            self._parts[version] = self._part(version)
        return self._parts[version]

    def _part(self, version: str) -> tuple[Mapping[str, Any], Mapping[CampaignId, str]]:
        stem, document = stem_of(version), self._documents[version]
        if stem is None:
            return document, {}
        for file in (NO_FILE, *self._documents.values()):
            hqs = sections_in(document, file) if is_of(file, stem) else None
            if hqs is not None:
                return file, hqs
        # The file alone is kept no more: HQ's are those that are known as such.
        return parted(document, self._still_hqs)


class RulesBesideHq:
    """One policy, and what it is with the campaigns that HQ had at a decision.

    Attributes:
        rules: The policy alone.
    """

    def __init__(
        self, file: Mapping[str, Any], rules: Rules, *, kept: KeptTexts, config: Config
    ) -> None:
        self.rules = rules
        self._file = file
        self._kept = kept
        self._config = config
        self._joined: dict[str, Rules] = {}

    def at(self, told: Mapping[str, Any]) -> Rules:
        """Returns the policy as it would have been in force for a recorded decision.

        Raises:
            ConfigError: With HQ's campaigns it is none.
        """
        sections = self._kept.hqs(told.get("rules", {}).get("version"))
        if not sections:
            return self.rules
        text = joined(self._file, sections)
        if text not in self._joined:
            self._joined[text] = _rules_in(text, self._config)
        return self._joined[text]


def rules_beside_hq(path: Path, *, kept: KeptTexts, config: Config) -> RulesBesideHq:
    """Returns the policy in a file, to be put beside HQ's campaigns.

    Raises:
        ConfigError: It is wrong.
    """
    text = text_of(path)
    rules = rules_of(text, name=str(path), config=config)
    return RulesBesideHq(tomllib.loads(text), rules, kept=kept, config=config)


def kept_beside_hq(version: str | None, *, kept: KeptTexts, config: Config) -> RulesBesideHq:
    """Returns a policy that is kept, without HQ's campaigns in it; None is none at all.

    Raises:
        ConfigError: It is read no more.
    """
    if version is None:
        return RulesBesideHq(NO_FILE, NEUTRAL, kept=kept, config=config)
    file = kept.file(version)
    text = joined(file, {}) if kept.hqs(version) else kept.text(version)
    rules = NEUTRAL if file is NO_FILE else _rules_in(text, config)
    return RulesBesideHq(file, rules, kept=kept, config=config)


def _rules_in(text: str, config: Config) -> Rules:
    try:
        return rules_of(text, name="HQ's campaigns", config=config, is_in_force=True)
    except ConfigError as error:
        raise ConfigError(
            "the rules cannot be joined with HQ's campaigns of that day",
            problems=error.problems,
            hint="HQ's campaigns are kept in the table rule_set, as they were joined then",
        ) from error
