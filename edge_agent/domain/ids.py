"""Identifiers, one type each, so that none can stand where another belongs."""

from __future__ import annotations

from typing import NewType

StoreId = NewType("StoreId", str)
SourceId = NewType("SourceId", str)
EventId = NewType("EventId", str)
ZoneId = NewType("ZoneId", str)
ScreenId = NewType("ScreenId", str)
RegisterId = NewType("RegisterId", str)
TeamId = NewType("TeamId", str)
ProductId = NewType("ProductId", str)
CampaignId = NewType("CampaignId", str)

# A keyed hash of a raw identifier, hexadecimal; the raw one never gets past `identify.pseudonyms`.
Pseudonym = NewType("Pseudonym", str)

VisitorId = NewType("VisitorId", str)
VisitId = NewType("VisitId", str)
BasketId = NewType("BasketId", str)
DecisionId = NewType("DecisionId", str)

# What an arm is drawn for: a person or a time slot at a place, as a keyed hash.
UnitId = NewType("UnitId", str)
