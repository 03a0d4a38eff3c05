"""Campaigns that HQ defines: as the sections of a `policy.toml` that they would be.

HQ's command says what a campaign offers, from when to when; its `definition` says the rest in the
words of the policy file (`channels`, `when`, `per_visitor`, `redeem_within_s`, …). They are joined
with the chain's file into one text, so that there is one form, one check and one record of both.
What the file says of a campaign holds against HQ's of the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from edge_agent.domain.ids import CampaignId
from edge_agent.domain.time import ms_from_datetime, rfc3339_from_ms

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from edge_agent.wire.downlink import CampaignBody

# What a file would say that holds nothing but HQ's campaigns.
NO_FILE: Final[Mapping[str, Any]] = {"version": "hq"}
_CAMPAIGNS: Final = "campaigns"
_VERSION_MAX: Final = 48
_DIGEST_DIGITS: Final = 12
# What is alike under every name.
_NAMED: Final = {"version": ""}
_JOINED: Final = re.compile(rf"(.*)\.[0-9a-f]{{{_DIGEST_DIGITS}}}")


def section_of(body: CampaignBody) -> dict[str, Any]:
    """Returns HQ's campaign as its section of a policy file; what the body itself says holds."""
    section: dict[str, Any] = {
        **body.definition,
        "text": body.text,
        "from": rfc3339_from_ms(ms_from_datetime(body.starts_at)),
        "until": rfc3339_from_ms(ms_from_datetime(body.ends_at)),
    }
    if body.products:
        section["products"] = list(body.products)
    if body.value is not None:
        section["value"] = float(body.value)
    if body.budget is not None:
        section["budget"] = body.budget
    return section


def section_text(section: Mapping[str, Any]) -> str:
    """Returns a section as canonical JSON: equal sections, equal bytes."""
    return json.dumps(section, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def still_on(campaigns: Mapping[CampaignId, str], *, now_ms: int) -> dict[CampaignId, str]:
    """Returns HQ's campaigns that are not over."""
    ends = {name: json.loads(text)["until"] for name, text in campaigns.items()}
    return {
        name: text
        for name, text in campaigns.items()
        if ms_from_datetime(datetime.fromisoformat(ends[name])) > now_ms
    }


def joined(file: Mapping[str, Any], campaigns: Mapping[CampaignId, str]) -> str:
    """Returns a policy's text with HQ's campaigns in it, under a version that names both.

    The version ends in a digest of all that the text says: two that are alike up to there are two.

    Args:
        file: The chain's policy as its TOML says, or `NO_FILE`.
        campaigns: HQ's sections as JSON.
    """
    own = dict(file.get(_CAMPAIGNS, {}))
    texts = {name: campaigns[name] for name in sorted(campaigns) if name not in own}
    document = {
        **file,
        _CAMPAIGNS: {**own, **{name: json.loads(text) for name, text in texts.items()}},
    }
    told = json.dumps(document, sort_keys=True, ensure_ascii=False, default=_plain)
    digest = hashlib.sha256(told.encode()).hexdigest()[:_DIGEST_DIGITS]
    document["version"] = f"{_stem(file)}.{digest}"
    return "".join(f"{_text(key)} = {_value(each)}\n" for key, each in document.items())


def _plain(value: date) -> str:
    return value.isoformat()


def stem_of(version: str) -> str | None:
    """Returns which file's version one with HQ's campaigns begins with; None where it is neither.

    A file may be called so too: `sections_in` knows.
    """
    found = _JOINED.fullmatch(version)
    return None if found is None else found[1]


def is_of(file: Mapping[str, Any], stem: str) -> bool:
    """Returns whether what is joined with this file is called by this stem."""
    return _stem(file) == stem


def sections_in(
    document: Mapping[str, Any], file: Mapping[str, Any]
) -> dict[CampaignId, str] | None:
    """Returns HQ's sections in a joined policy; None where it is not this file's with HQ's.

    Args:
        document: What `joined` returned, as its TOML says.
        file: The policy that it may have been joined from.
    """
    own, told = file.get(_CAMPAIGNS, {}), document.get(_CAMPAIGNS, {})
    hqs = {name: each for name, each in told.items() if name not in own}
    rest = {name: each for name, each in told.items() if name in own}
    if {**document, **_NAMED, _CAMPAIGNS: rest} != {**file, **_NAMED, _CAMPAIGNS: own}:
        return None
    try:
        return {CampaignId(name): section_text(each) for name, each in hqs.items()}
    except TypeError:
        # A date without quotes: no JSON was this.
        return None


def parted(
    document: Mapping[str, Any], names: Collection[str]
) -> tuple[dict[str, Any], dict[CampaignId, str]]:
    """Returns a policy without some of its campaigns, and those as sections."""
    told = document.get(_CAMPAIGNS, {})
    hqs = {CampaignId(name): section_text(each) for name, each in told.items() if name in names}
    rest = {name: each for name, each in told.items() if name not in hqs}
    return {**document, _CAMPAIGNS: rest}, hqs


def _stem(file: Mapping[str, Any]) -> str:
    return str(file.get("version", ""))[:_VERSION_MAX]


def _text(text: str) -> str:
    # JSON's escapes are TOML's; the one control character that JSON leaves is escaped here.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """Returns a value as TOML 1.0 writes it, tables in line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_text(key)} = {_value(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return value.isoformat() if isinstance(value, date) else repr(value)
