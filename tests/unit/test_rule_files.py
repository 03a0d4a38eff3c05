"""The policy file: what it means, what is refused with which line, and what it is called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from edge_agent import config as configuration
from edge_agent.cli import command_line
from edge_agent.cli.check import problems_of
from edge_agent.config import Config, layout_of
from edge_agent.domain.fact_names import markdown_rows
from edge_agent.domain.ids import ScreenId, TeamId, ZoneId
from edge_agent.domain.rules import NEUTRAL, Caps, Exploration, Help, Rules, Sharing
from edge_agent.domain.time import ms_from_datetime
from edge_agent.errors import ConfigError
from edge_agent.shell.rule_files import BYTES_MAX, SECTIONS, load_rules, rules_of

EXAMPLE: Final = Path(__file__).parents[2] / "provisioning" / "policy.example.toml"
STORE: Final = """store = "s1"
timezone = "Europe/Helsinki"
[zones.dairy]
[screens.dairy-1]
zone = "dairy"
audience = "semi_private"
[screens.kiosk]
zone = "dairy"
audience = "private"
[registers.pos-1]
zone = "dairy"
"""
CAMPAIGN: Final = """
[campaigns.cheese]
text = "Cheese"
from = 2026-12-01
until = 2026-12-08
products = ["1"]
"""


def store() -> Config:
    """A store in Helsinki with two screens and a till."""
    return configuration.parse(STORE, name="agent.toml")


def read(text: str, config: Config | None = None) -> Rules:
    """The rules of a text that has its version."""
    return rules_of(f'version = "v1"\n{text}', name="policy.toml", config=config)


def problems(text: str, config: Config | None = None) -> tuple[str, ...]:
    """What is wrong with a text that has its version on line 1."""
    with pytest.raises(ConfigError) as caught:
        read(text, config)
    return caught.value.problems


def at(text: str) -> int:
    """An instant in milliseconds."""
    return ms_from_datetime(datetime.fromisoformat(text).astimezone(UTC))


def window(stated_from: str, stated_until: str, config: Config | None = None) -> tuple[int, int]:
    """First instant and end of a campaign with these times."""
    text = CAMPAIGN.replace("2026-12-01", stated_from).replace("2026-12-08", stated_until)
    (campaign,) = read(text, config).campaigns
    return campaign.starts_at_ms, campaign.ends_at_ms


def test_a_file_that_says_nothing_changes_nothing() -> None:
    """Only its name and digest tell it from no file at all."""
    rules = read("")
    assert replace(rules, version=NEUTRAL.version, digest=NEUTRAL.digest) == NEUTRAL
    assert rules.version == "v1"


def test_the_example_is_sound_and_says_what_it_says() -> None:
    """Every section of it is found in the rules."""
    rules = load_rules(EXAMPLE)
    assert rules.caps == Caps(
        per_visitor_day=20, cooldown_s=30, ignored_after=5, quiet_hours=((1_320, 420),)
    )
    assert rules.exploration == Exploration(share=0.02)
    assert rules.help == Help(lifts_and_returns=4, queue_length=6)
    assert rules.teams[TeamId("floor")].escalate_to == "manager"
    assert rules.sharing == {ScreenId("dairy-1"): Sharing(mode="rotation", turn_s=20)}
    assert rules.margins == {"GROCERY": 0.45, "PRODUCE": 0.6}
    assert rules.sensitive_departments == {"DRUG GM"}
    assert [each.id for each in rules.rules] == [
        "dear-bottles-off-the-screens",
        "little-things-at-the-till",
        "no-beer-in-the-morning",
        "own-brand",
        "short-queue-first",
        "soup-when-it-rains",
    ]
    limits = (rules.rules[0].price_from, rules.rules[1].price_below)
    assert limits == (Decimal(100), Decimal(2))
    assert [each.control_share for each in rules.campaigns] == [0.2, 0.1]
    assert rules.campaigns[0].when is not None
    assert rules.campaigns[0].when.holds({"weekday": 4, "basket_departments": ["MEAT"]})
    assert problems_of(EXAMPLE) == []


def test_the_example_shows_every_key_and_its_defaults() -> None:
    """With its comments as settings it still reads, and those change nothing."""
    opened = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", EXAMPLE.read_text(encoding="utf-8"))
    shown = set(re.findall(r"(?m)^([a-z_]+) = ", opened))
    for model in SECTIONS.values():
        keys = {each.alias or name for name, each in model.model_fields.items()}
        assert keys - {"sharing"} <= shown
    assert replace(rules_of(opened, name="x"), digest="", audiences={}) == replace(
        load_rules(EXAMPLE), digest=""
    )


@pytest.mark.parametrize(
    ("stated_from", "stated_until", "first", "end"),
    [
        ("2026-12-01", "2026-12-08", "2026-12-01T00:00+02:00", "2026-12-09T00:00+02:00"),
        ('"2026-12-01"', '"2026-12-01"', "2026-12-01T00:00+02:00", "2026-12-02T00:00+02:00"),
        (
            '"2026-12-01 10:31"',
            "2026-12-01T10:32:00",
            "2026-12-01T10:31+02:00",
            "2026-12-01T10:32+02:00",
        ),
        (
            "2026-12-01T10:31:00Z",
            '"2026-12-01T18:00+01:00"',
            "2026-12-01T10:31+00:00",
            "2026-12-01T18:00+01:00",
        ),
        # The hour that comes twice: from its first coming, until its last.
        (
            '"2026-10-25 03:30"',
            '"2026-10-25 03:30"',
            "2026-10-25T03:30+03:00",
            "2026-10-25T03:30+02:00",
        ),
    ],
)
def test_times_are_days_the_stores_own_or_instants(
    stated_from: str, stated_until: str, first: str, end: str
) -> None:
    """A day counts as a whole; what names no offset is what the store's clock shows."""
    assert window(stated_from, stated_until, store()) == (at(first), at(end))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[caps]\nper_visitor_dya = 3", "3: caps.per_visitor_dya: there is no such key; did you"),
        ("[capz]", "2: capz: there is no such key; did you mean caps?"),
        ('[caps]\ncooldown_s = "3"', "3: caps.cooldown_s: needs a whole number, without quotes"),
        ("[caps]\ncooldown_s = -1", "3: caps.cooldown_s: must be at least 0"),
        ("[hurry]\nmodel_ms = 1500", "3: hurry.model_ms: must be at most 1000"),
        ('[caps]\nquiet_hours = ["22:00"]', "3: caps.quiet_hours.0: write two times of the day"),
        ('[caps]\nquiet_hours = ["22:00-22:00"]', "3: caps.quiet_hours.0: write two times"),
        ("[margins]\nA = inf", "3: margins.A: needs a finite number"),
        ("[exploration]\nshare = 1.5", "3: exploration.share: must be at most 1; write 10 %"),
        ("[rules]\nx = 3", "3: rules.x: needs a table"),
        ("[rules.x]", "2: rules.x: changes nothing; give it a weight, or forbid = true"),
        ("[rules.x]\nforbid = true\nweight = 2", "4: rules.x.weight: what is forbidden has no"),
        ("[rules.x]\nforbid = true\ncampaigns = ['a']", "4: rules.x.campaigns: there is no camp"),
        (
            "[rules.x]\nforbid = true\nprice_from = '2'",
            "4: rules.x.price_from: needs a numb",
        ),
        ("[rules.x]\nforbid = true\nprice_from = -1", "4: rules.x.price_from: must be at least 0"),
        (
            "[rules.x]\nforbid = true\nprice_to = 1",
            "4: rules.x.price_to: there is no such key",
        ),
        (
            "[rules.x]\nforbid = true\nprice_from = 2\nprice_below = 2",
            "5: rules.x.price_below: is not above price_from; no price ever is there",
        ),
        (
            "[rules.x]\nforbid = true\nprice_below = 0",
            "4: rules.x.price_below: is not above 0; no price ever is there",
        ),
        (
            CAMPAIGN + "[rules.x]\nweight = 2\nprice_below = 2\ncampaigns = ['cheese']",
            "11: rules.x.campaigns: a campaign has no price, its products have; name those",
        ),
        ('[rules."a b"]\nforbid = true', "2: rules.a b: takes letters, digits, - and _ alone"),
        ("[rules.x]\nforbid = true\nwhen = ''", "4: rules.x.when: is empty"),
        (
            "[rules.x]\nforbid = true\nwhen = 'zone == 3'",
            "4: rules.x.when: column 14: a text never equals an int",
        ),
        (
            "[rules.x]\nforbid = true\nwhen = '''\nhour > 3 &&\n  zone = 'a'\n'''",
            "6: rules.x.when: column 8: = compares nothing",
        ),
        (
            "[rules.x]\nforbid = true\nwhen = '''hour > 3\n&& zone = 'a' '''",
            "5: rules.x.when: column 9: = compares nothing",
        ),
        (
            '[rules]\nx = { forbid = true, when = "hourr > 3" }',
            "3: rules.x.when: column 30: nothing is called hourr; did you mean hour?",
        ),
        (
            '[rules.x]\nforbid = true\nwhen = "zone == \\"a\\" and hour > 3"',
            "4: rules.x.when: at character 13 of it: and is &&",
        ),
        (
            "[rules.x]\nforbid = true\nwhen = 'moment == \"zone_enter\"'",
            "4: rules.x.when: column 19: moment is never 'zone_enter'; did you mean zone_entered?",
        ),
        ("[teams.a]\nescalate_to = 'b'", "3: teams.a.escalate_to: there is no team b"),
        (
            "[teams.a]\nescalate_to = 'b'\nacknowledge_within_s = 1\n"
            "[teams.b]\nescalate_to = 'a'\nacknowledge_within_s = 1",
            "3: teams.a.escalate_to: a call would come back to this team",
        ),
        (
            "[teams.a]\nescalate_to = 'b'\n[teams.b]",
            "3: teams.a.escalate_to: is never called; set",
        ),
        ("[campaigns.x]", "2: campaigns.x.text: is missing; add it"),
        (CAMPAIGN.replace('"1"', ""), "7: campaigns.cheese.products: an offer is about products"),
        (CAMPAIGN + 'kind = "content"', "7: campaigns.cheese.products: content is about no prod"),
        (CAMPAIGN.replace("2026-12-08", "2026-11-08"), "6: campaigns.cheese.until: is not after"),
        (CAMPAIGN.replace("2026-12-08", '"8.12."'), "6: campaigns.cheese.until: write a day"),
        (CAMPAIGN.replace("2026-12-08", "20261208"), "6: campaigns.cheese.until: write a day"),
        (CAMPAIGN.replace("2026-12-08", "1926-12-08"), "6: campaigns.cheese.until: write a day"),
        (CAMPAIGN + "channels = []", "8: campaigns.cheese.channels: is empty"),
        (CAMPAIGN + 'channels = ["mail"]', "8: campaigns.cheese.channels.0: must be 'screen', "),
        (
            '[rules.a]\nwhen = "zone == "deli""',
            "3: no TOML: column 18: Expected newline or end of document after a statement; put a",
        ),
        ("[x", "2: no TOML: Expected ']' at the end of a table declaration"),
        ("a = [1,\n2", "3: no TOML: Unclosed array"),
        ("a = 1\na = 2\n", "3: no TOML: column 6: Cannot overwrite a value"),
        ("a = '\x85\x1e", '2: no TOML: Expected "\'"'),
        ("# \x85 \u2028\n[caps]\nper_visitor_day = -1", "4: caps.per_visitor_day"),
        ("a = " + "9" * 5_000, "2: no TOML: Exceeds the limit"),
        ("a = " + "[" * 5_000, "1: is nested too deeply; write tables under headers"),
    ],
)
def test_a_problem_names_its_line_what_is_wrong_and_the_cure(text: str, wanted: str) -> None:
    """Whoever writes the file finds the place without searching."""
    assert any(each.startswith(f"policy.toml:{wanted}") for each in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "[screens.dairy-2]",
            "2: screens.dairy-2: there is no such screen; did you mean dairy-1?",
        ),
        (
            '[screens.dairy-1]\naudience = "private"',
            "3: screens.dairy-1.audience: may not be private: the agent's own file says semi_priv",
        ),
        (
            "[rules.x]\nforbid = true\nwhen = 'zone in [\"diary\"]'",
            "4: rules.x.when: column 18: zone is never 'diary'; did you mean dairy?",
        ),
        (
            "[rules.x]\nforbid = true\nwhen = 'register == \"till\"'",
            "4: rules.x.when: column 21: register is never 'till'; there are pos-1",
        ),
        (
            CAMPAIGN.replace("2026-12-01", '"2026-03-29 03:30"'),
            "5: campaigns.cheese.from: the store's clock never shows 2026-03-29 03:30:00",
        ),
    ],
)
def test_what_only_a_store_knows_is_checked_with_its_configuration(text: str, wanted: str) -> None:
    """Alone, the same file is fine: another store may have that screen."""
    assert [each[: len(wanted) + 12] for each in problems(text, store())] == [
        f"policy.toml:{wanted}"
    ]
    read(text)


def test_a_price_is_what_is_written() -> None:
    """No binary fraction beside it; a rule without one has no limits."""
    dear, plain = read(
        "[rules.a]\nforbid = true\nprice_from = 0.1\nprice_below = 1.99\n[rules.b]\nweight = 2\n"
    ).rules
    assert (dear.price_from, dear.price_below) == (Decimal("0.1"), Decimal("1.99"))
    prices = ("0.09", "0.10", "1.98", "1.99")
    assert [dear.has_price(Decimal(each)) for each in prices] == [False, True, True, False]
    assert (dear.has_price(None), plain.has_price(None)) == (False, True)


def test_every_problem_is_told_at_once_and_in_order() -> None:
    """One look at the file mends all of it."""
    found = problems("[rules.b]\nwhen = 'x'\n[rules.a]\nwhen = 'y'\n")
    assert [each.split(":")[1] for each in found] == ["2", "3", "4", "5"]


def test_a_screen_is_only_ever_seen_by_more_people() -> None:
    """A policy may make a screen more public, never more private, whatever it is asked."""
    layout = layout_of(store())
    wide = layout.tightened(
        read('[screens.kiosk]\naudience = "semi_private"\n[screens.dairy-1]', store()).audiences
    )
    assert wide.screens[ScreenId("kiosk")].audience == "semi_private"
    assert wide.screens[ScreenId("dairy-1")].audience == "semi_private"
    assert [each.audience for each in wide.screens_by_zone[ZoneId("dairy")]] == [
        "semi_private",
        "semi_private",
    ]
    private = dict.fromkeys(layout.screens, "private")
    assert layout.tightened(private) == layout
    assert layout.tightened({}) is layout


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("[caps]\ncooldown_s = 30", "# a word\n\n[caps]\n  cooldown_s=30  # the same", True),
        ("[sensitive]\ndepartments=['A','B']", "[sensitive]\ndepartments=['B','A']", True),
        (CAMPAIGN, CAMPAIGN.replace("2026-12-01", '"2026-12-01"'), True),
        ("[caps]\ncooldown_s = 30", "[caps]\ncooldown_s = 31", False),
        ("", "[caps]", False),
        (CAMPAIGN, CAMPAIGN.replace("cheese]", "cheddar]"), False),
    ],
)
def test_the_digest_is_of_what_is_said(one: str, other: str, *, is_same: bool) -> None:
    """Comments, order and spelling are nothing; any number is something."""
    assert (read(one).digest == read(other).digest) is is_same


def test_the_digest_stays_when_the_agent_is_renewed() -> None:
    """It is written into decisions: a release must not change what an old file is called."""
    digest = "1aa77255a2e7c992b15edd5f1f417d23"
    assert read(CAMPAIGN).digest[:32] == digest


def test_files_that_cannot_be_read_are_told_with_their_name(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, too large."""
    missing, binary, large = (tmp_path / f"{each}.toml" for each in ("missing", "binary", "large"))
    binary.write_bytes(b'version = "a"\n# \xff\n')
    large.write_bytes(b"#" * (BYTES_MAX + 1))
    for path, wanted in (
        (missing, "1: cannot be read: No such file or directory; see"),
        (tmp_path, "1: cannot be read: Is a directory; see"),
        (binary, "2: is not UTF-8; save it so"),
        (large, "1: larger than 1,000,000 bytes"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_rules(path)
        assert caught.value.problems[0].startswith(f"{path}:{wanted}")


def checked(*paths: Path) -> tuple[int, Any]:
    """Exit code and JSON of `edge-agent check`."""
    done = CliRunner().invoke(command_line(), ["check", *map(str, paths), "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_check_reads_a_policy_by_itself_and_with_its_store(tmp_path: Path) -> None:
    """Alone it is judged by its form; named in the agent's file, by the store as well."""
    policy, agent = tmp_path / "policy.toml", tmp_path / "agent.toml"
    policy.write_text('version = "v1"\n[screens.gone]\naudience = "public"\n', encoding="utf-8")
    agent.write_text(f'rules = "{policy}"\n{STORE}', encoding="utf-8")
    assert checked(policy) == (0, {str(policy): []})
    code, told = checked(agent)
    assert code == 1
    assert told[str(agent)] == [
        f"{policy}:2: screens.gone: there is no such screen; there are dairy-1, kiosk"
    ]
    other = tmp_path / "spring.toml"
    other.write_text('# a policy\nversion = "v1"\n[rules.x]\nforbid = 1\n', encoding="utf-8")
    told = checked(other)[1]
    assert told[str(other)] == [f"{other}:4: rules.x.forbid: needs true or false, without quotes"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[control]\nshare = 10\n", "policy.toml:3: control.share: must be at most 1; write 10 %"),
        ("[margins]\nA = -1\n", "policy.toml:3: margins.A: must be at least 0"),
        (f"{CAMPAIGN}budget = 0\n", "policy.toml:8: campaigns.cheese.budget: must be at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_its_bound(text: str, said: str) -> None:
    """The validator's own words would say less, and nothing of per cent."""
    (found,) = problems(text)
    assert found.startswith(said)


def test_a_wrong_channel_is_one_problem() -> None:
    """The list is not called empty for what is wrong in it."""
    (found,) = problems(f'{CAMPAIGN}channels = ["email"]\n')
    assert "must be 'screen', 'receipt' or 'reply'" in found


def test_a_file_without_a_version_is_told_so_and_not_taken_for_an_agents(tmp_path: Path) -> None:
    """Whatever it is called; a mark of some editors before its first line spoils nothing."""
    path = tmp_path / "other.toml"
    path.write_text("\ufeff[caps]\ncooldown_s = 5\n", encoding="utf-8")
    assert problems_of(path) == [f"{path}:1: version: is missing; add it"]
    path.write_text('\ufeffversion = "v1"\n[caps]\ncooldown_s = 5\n', encoding="utf-8")
    assert problems_of(path) == []


def test_a_department_that_no_zone_sells_is_noted_and_is_no_error(tmp_path: Path) -> None:
    """One file serves many stores, and a typo must not go unseen."""
    agent, policy = tmp_path / "agent.toml", tmp_path / "policy.toml"
    policy.write_text('version = "v"\n[rules.a]\nweight = 2\ndepartments = ["dairy", "MEAT"]\n')
    zone = '[zones.dairy]\ndepartments = ["DAIRY"]'
    agent.write_text(f'rules = "{policy}"\n{STORE.replace("[zones.dairy]", zone)}')
    done = CliRunner().invoke(command_line(), ["check", str(agent)])
    assert done.exit_code == 0
    place = f"  note: {policy}:4: rules.a.departments: no zone here sells"
    assert done.output.splitlines()[1:] == [
        f"{place} dairy; did you mean DAIRY?",
        f"{place} MEAT; see the zones' departments in the agent's file",
    ]


def test_a_department_without_a_margin_is_noted(tmp_path: Path) -> None:
    """Beside margins below 1 it comes before all that is named."""
    agent, policy = tmp_path / "agent.toml", tmp_path / "policy.toml"
    policy.write_text('version = "v"\n[margins]\nDAIRY = 0.3\n')
    zone = '[zones.dairy]\ndepartments = ["DAIRY", "MEAT", "BAKERY"]'
    agent.write_text(f'rules = "{policy}"\n{STORE.replace("[zones.dairy]", zone)}')
    done = CliRunner().invoke(command_line(), ["check", str(agent)])
    assert done.output.splitlines()[1:] == [
        f"  note: {policy}:2: margins: one piece of these is worth 1: BAKERY, MEAT"
    ]


@pytest.mark.parametrize("cooldown_s", [86_400, 86_401])
def test_a_cool_down_that_outlasts_the_decisions_is_noted(tmp_path: Path, cooldown_s: int) -> None:
    """What is purged begins no time any more."""
    agent, policy = tmp_path / "agent.toml", tmp_path / "policy.toml"
    policy.write_text(f'version = "v"\n[caps]\ncooldown_s = {cooldown_s}\n')
    agent.write_text(f'rules = "{policy}"\n{STORE}\n[retention]\ndecisions_days = 1\n')
    done = CliRunner().invoke(command_line(), ["check", str(agent)])
    assert done.exit_code == 0
    note = (
        f"  note: {policy}:3: caps.cooldown_s: it holds for 1 days alone:"
        " no longer are decisions kept (retention.decisions_days)"
    )
    assert done.output.splitlines()[1:] == ([note] if cooldown_s > 86_400 else [])


def test_a_product_that_the_bundle_does_not_know_is_noted(tmp_path: Path) -> None:
    """HQ's feed may know it; a slip of a digit would be said of nothing."""
    agent, policy = tmp_path / "agent.toml", tmp_path / "policy.toml"
    policy.write_text(
        'version = "v"\n[campaigns.milk]\ntext = "Milk"\nfrom = 2026-01-01\n'
        'until = 2026-02-01\nproducts = ["1029743", "10297430"]\n'
    )
    bundle = EXAMPLE.parents[1] / "models" / "artifacts"
    agent.write_text(f'rules = "{policy}"\n{STORE}\n[model]\nbundle = "{bundle}"\n')
    done = CliRunner().invoke(command_line(), ["check", str(agent)])
    assert done.exit_code == 0
    assert done.output.splitlines()[1:] == [
        f"  note: {policy}:6: campaigns.milk.products: the bundle does not know 10297430;"
        " unless HQ's feed does, nothing is said of it"
    ]


def test_conditions_are_judged_beside_a_wrong_form() -> None:
    """Whoever mends a number is not to find the conditions wrong only then."""
    found = problems(
        "[caps]\ncooldown_s = -1\n[rules.a]\nweight = 2\n"
        "when = 'hour > \"ten\"'\n[rules.b]\nwhen = ''\nweight = 2\n"
    )
    assert [each.partition(": ")[2].partition(":")[0] for each in found] == [
        "caps.cooldown_s",
        "rules.a.when",
        "rules.b.when",
    ]


def test_an_agents_file_that_is_no_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    """As a policy's is: no trace, and what to do."""
    agent = tmp_path / "agent.toml"
    agent.write_bytes(b'store = "s"\n# caf\xe9\n')
    assert checked(agent) == (1, {str(agent): [f"{agent}:2: is not UTF-8; save it so"]})


def test_an_agent_without_a_policy_loads_nothing_of_it() -> None:
    """A store without one spares the memory of its form and of CEL."""
    code = (
        "import sys, edge_agent.app\n"
        "wanted = {'edge_agent.wire.policy_file', 'edge_agent.shell.conditions', 'cel.cel'}\n"
        "print(wanted & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "set()\n"


def test_the_readme_names_every_fact_and_shows_what_check_says() -> None:
    """Whoever writes a condition reads there what it may ask of."""
    page = (EXAMPLE.parents[1] / "README.md").read_text(encoding="utf-8")
    table = page.partition("| name | type | what it is |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == markdown_rows()
    text = (
        'version = "v1"\n\n[rules.evening]\nweight = 2\n'
        "when = 'hour >= 17 and zone == \"dairy\"'\n"
        "\n[rules.rain]\nweight = 2\nwhen = 'weather == \"rain\"'\n"
        '\n\n\n[screens.dairy-1]\naudience = "private"\n'
    )
    agent = STORE.replace('audience = "semi_private"', 'audience = "public"')
    with pytest.raises(ConfigError) as caught:
        rules_of(
            text, name="/etc/edge-agent/policy.toml", config=configuration.parse(agent, name="a")
        )
    assert "\n".join(caught.value.problems) in page
