"""The facts of a moment: what the conditions of `policy.toml` may look at, by name.

Only what some condition asks of is gathered, and it stands in the decision's record. What rests on
who somebody is or did before this visit is never a fact before a public screen: no condition
there can rest on it, whatever it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.decide.eligibility import may_use_history
from edge_agent.domain.fact_names import FACT_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from edge_agent.domain.decisions import Moment
    from edge_agent.domain.ids import ProductId
    from edge_agent.domain.time import LocalTime

Sources = dict[str, "Callable[[], object]"]
"""How each fact is found, by name; None is not known."""

_PERSONAL: Final = frozenset(name for name, each in FACT_NAMES.items() if each.is_personal)


def facts_of(names: Iterable[str], sources: Sources, *, audience: str) -> dict[str, object]:
    """Returns the facts that are asked of, known, and may be known before this audience.

    Args:
        names: What is asked of.
        sources: How each is found; asked only of what may be known.
        audience: Who sees what is decided.
    """
    is_personal_known = may_use_history(audience)
    found: dict[str, object] = {}
    for name in sorted(names):
        source = sources.get(name)
        if source is None or (name in _PERSONAL and not is_personal_known):
            continue
        value = source()
        if value is not None:
            found[name] = value
    return found


def visible_sources(
    moment: Moment, *, local: LocalTime, minute: int, departments: Mapping[ProductId, str]
) -> Sources:
    """Returns the sources of all that the moment itself shows."""
    place = moment.place
    basket = moment.in_basket
    return {
        "moment": lambda: moment.kind,
        "channel": lambda: place.channel,
        "audience": lambda: place.audience,
        "screen": lambda: place.screen,
        "register": lambda: place.register,
        "zone": lambda: place.zone,
        "day": lambda: local.day,
        "hour": lambda: local.hour,
        "minute": lambda: minute,
        "weekday": lambda: local.weekday,
        "basket_size": lambda: len(basket),
        "basket": lambda: list(basket),
        "basket_departments": lambda: _departments(basket, departments),
        "item": lambda: moment.item,
    }


def _departments(basket: Iterable[ProductId], departments: Mapping[ProductId, str]) -> list[str]:
    named = (departments.get(product) for product in basket)
    return list(dict.fromkeys(each for each in named if each))
