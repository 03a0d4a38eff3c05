"""At which stage of his time as a customer an identified, consenting person is.

Worked out of his earlier baskets at any instant, like all that is said of somebody; nothing of it
is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.domain.time import DAY_MS, ms_from_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.domain.scoring import PastBasket

STAGES: Final = ("new", "occasional", "regular", "lapsed")
# A month of weekly shopping is a habit in the making, not yet one.
NEW_DAYS: Final = 30
# A season: who did not come in it buys elsewhere.
RECENT_DAYS: Final = 90
# Every other week of the season.
REGULAR_BASKETS: Final = 6


def stage_of(history: Iterable[PastBasket], *, now_ms: int) -> str:
    """Returns one of `STAGES`.

    `new` until 30 days after the first basket; `lapsed` after 90 days without any; `regular` with
    six or more within 90 days; `occasional` else.

    Args:
        history: Earlier baskets, in any order.
        now_ms: The instant of asking; what is said to have been bought later does not count.
    """
    ages_ms = [now_ms - ms_from_datetime(each.at) for each in history]
    past = [age_ms for age_ms in ages_ms if age_ms >= 0]
    if not past or max(past) < NEW_DAYS * DAY_MS:
        return "new"
    n_recent = sum(age_ms < RECENT_DAYS * DAY_MS for age_ms in past)
    if n_recent == 0:
        return "lapsed"
    return "regular" if n_recent >= REGULAR_BASKETS else "occasional"
